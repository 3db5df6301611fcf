"""`doctor` on this host, and on hosts that are broken in one way each (tests/support/hosts.py)."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rootless.engine.hostfacts import mount_of
from rootless.kernel.mounts import MS_BIND, MS_NOEXEC, MS_RDONLY, MS_REMOUNT, mount
from tests.support.command import executable
from tests.support.hosts import run_on_host

UID = os.getuid()
NAME = pwd.getpwuid(UID).pw_name
ENOUGH = f"{NAME}:2000:70000\n"


class Report:
    def __init__(self, code: int, output: str, errors: str) -> None:
        assert code in (0, 1), errors
        assert errors == ""
        value = json.loads(output)
        self.code = code
        self.ok: bool = value["ok"]
        self.checks: list[dict[str, Any]] = value["checks"]
        assert self.ok == (code == 0)
        assert self.ok == all(check["level"] != "problem" for check in self.checks)
        for check in self.checks:  # whatever is amiss comes with what mends it; the id map repeats what was said above
            assert check["level"] == "ok" or check["mend"] or check["check"] in ("id map", "storage driver"), check

    def of(self, name: str) -> dict[str, Any]:
        """The worst finding of a check."""
        found = [check for check in self.checks if check["check"] == name]
        assert found, f"{name} is not among {[check['check'] for check in self.checks]}"
        return max(found, key=lambda check: ["ok", "warning", "problem"].index(check["level"]))


def doctor(place: Path, *, root: Path | None = None, files: dict[str, str] | None = None, **more: Any) -> Report:
    """`doctor --format json` as us on a host whose subordinate ids are in order unless `files` says otherwise."""
    runroot = place / "run"
    command = [executable(), "--root", str(root or place / "store"), "--runroot", str(runroot), "doctor", "-f", "json"]
    files = {"/etc/subuid": ENOUGH, "/etc/subgid": ENOUGH, **(files or {})}
    return Report(*run_on_host(command, place, files=files, **more))


@pytest.fixture
def programs(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """An environment with a PATH that holds what doctor runs, except for some programs."""

    def make(*without: str, **scripts: str) -> dict[str, str]:
        directory = tmp_path / "bin"
        directory.mkdir()
        everything = ("sh", "readlink", "newuidmap", "newgidmap", "slirp4netns", "pasta", "fuse-overlayfs", "apt-get")
        for name in everything:
            found = shutil.which(name)
            if found and name not in without and name not in scripts:
                (directory / name).symlink_to(found)
        for name, script in scripts.items():
            (directory / name).write_text(f"#!/bin/sh\n{script}\n")
            (directory / name).chmod(0o755)
        return {"PATH": str(directory)}

    return make


def test_this_host_is_examined_without_making_a_store(tmp_path: Path) -> None:
    done = subprocess.run(
        [executable(), "--root", str(tmp_path / "store"), "doctor", "--format", "json"], capture_output=True, text=True
    )
    report = Report(done.returncode, done.stdout, done.stderr)
    for name in ("kernel", "user namespaces", "newuidmap", "subordinate uids", "id map", "storage driver", "store"):
        report.of(name)
    assert list(tmp_path.iterdir()) == []


def test_people_get_lines_with_the_commands_below_and_no_colours_in_a_pipe(tmp_path: Path) -> None:
    files = {"/etc/subuid": "", "/etc/subgid": ENOUGH}
    command = [executable(), "--root", str(tmp_path / "store"), "doctor"]
    code, output, _ = run_on_host(command, tmp_path, files=files)
    assert code == 0
    line, mend = next(
        (line, after)
        for line, after in zip(output.splitlines(), output.splitlines()[1:], strict=False)
        if "subuid" in line
    )
    assert line.startswith("WARNING  subordinate uids")
    assert f"mend: sudo usermod --add-subuids 100000-165535 {NAME}" in mend
    assert "\033" not in output
    assert output.rstrip().splitlines()[-1].startswith("Containers run here; ")


def test_a_host_in_order_has_its_ids_and_maps_them(tmp_path: Path) -> None:
    report = doctor(tmp_path)
    for name in ("newuidmap", "newgidmap", "user namespaces", "id map"):
        assert report.of(name)["level"] == "ok", report.of(name)


def test_a_malformed_line_of_ours_is_named_by_its_number(tmp_path: Path) -> None:
    found = doctor(tmp_path, files={"/etc/subuid": f"# list\n{ENOUGH}{NAME}:many:65536\n"}).of("subordinate uids")
    assert found["level"] == "warning"
    assert "line 3 is malformed" in found["message"]
    assert found["mend"] == ["sudo sed -i 3d /etc/subuid"]


def test_a_range_shared_with_another_user_is_named_and_a_free_one_offered(tmp_path: Path) -> None:
    found = doctor(tmp_path, files={"/etc/subuid": f"{ENOUGH}eve:71999:500000\n"}).of("subordinate uids")
    assert "line 1 overlaps line 2 of eve" in found["message"]
    assert found["mend"][-1] == f"sudo usermod --add-subuids 571999-637534 {NAME}"


def test_too_few_ids_are_counted(tmp_path: Path) -> None:
    report = doctor(tmp_path, files={"/etc/subgid": f"{NAME}:3000:100\n"})
    assert report.of("subordinate gids")["message"].startswith(f"/etc/subgid: 100 for {NAME}")
    assert "--add-subgids 100000-" in report.of("subordinate gids")["mend"][0]


def test_ranges_that_overlap_count_once(tmp_path: Path) -> None:
    text = f"{NAME}:2000:40000\n{NAME}:30000:40000\n"
    found = [c for c in doctor(tmp_path, files={"/etc/subuid": text}).checks if c["check"] == "subordinate uids"]
    assert "overlap" in found[0]["message"]
    assert found[0]["mend"][-1] == f"sudo usermod --del-subuids 30000-69999 {NAME}"


def test_a_helper_without_privilege_is_given_it_back(tmp_path: Path) -> None:
    report = doctor(tmp_path, tools=lambda place: (place / "newuidmap").chmod(0o755))
    found = report.of("newuidmap")
    assert "neither set-user-ID root" in found["message"]
    assert found["mend"][-1].startswith("sudo chmod 4755 /")
    assert "setcap cap_setuid=ep" in found["note"]
    assert report.of("newgidmap")["level"] == "ok"
    assert report.of("id map")["level"] == "warning"


def test_a_helper_that_refuses_is_a_problem_in_its_own_words(tmp_path: Path) -> None:
    def tools(place: Path) -> None:
        (place / "newgidmap").write_text("#!/bin/sh\necho newgidmap: not today >&2\nexit 1\n")
        (place / "newgidmap").chmod(0o4755)

    report = doctor(tmp_path, tools=tools)
    assert not report.ok
    assert "newgidmap: not today" in report.of("id map")["message"]


def test_a_missing_helper_is_installed_with_the_systems_package_manager(
    tmp_path: Path, programs: Callable[..., dict[str, str]]
) -> None:
    report = doctor(tmp_path, environment=programs("newuidmap", **{"apt-get": "exit 1"}))
    assert report.of("newuidmap")["mend"] == ["sudo apt-get install -y uidmap"]
    assert report.of("newuidmap")["level"] == report.of("id map")["level"] == "warning"
    assert "newuidmap is not installed" in report.of("id map")["message"]
    assert report.ok, "with one id containers work"


def test_no_new_privs_is_a_warning(tmp_path: Path) -> None:
    command = ["setpriv", "--no-new-privs", executable(), "--root", str(tmp_path / "store"), "doctor", "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = Report(done.returncode, done.stdout, done.stderr)
    assert report.of("no_new_privs")["level"] == "warning"
    assert "one user id only" in report.of("id map")["message"]


def test_user_namespaces_that_are_switched_off_are_the_one_problem_told(tmp_path: Path) -> None:
    def prepare() -> None:
        Path("/proc/sys/user/max_user_namespaces").write_text("0")

    report = doctor(tmp_path, prepare=prepare)
    found = report.of("user namespaces")
    assert found["level"] == "problem"
    assert found["message"].endswith("user.max_user_namespaces is 0")
    assert found["mend"][0].startswith("echo 'user.max_user_namespaces = ")
    assert "id map" not in [check["check"] for check in report.checks]


def test_another_kind_of_namespace_that_is_switched_off_is_named(tmp_path: Path) -> None:
    def prepare() -> None:
        Path("/proc/sys/user/max_net_namespaces").write_text("0")

    found = doctor(tmp_path, prepare=prepare).of("other namespaces")
    assert found["message"].startswith("unshare(net): ")
    assert "user.max_net_namespaces" in found["mend"][0]


def deny_unshare() -> list[str]:
    """A command line that runs the rest under a filter which answers EPERM to unshare(2)."""
    import sys

    number = {"x86_64": 272, "aarch64": 97}.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of unshare(2) here is not known to this test")
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000))
    )
    code = (
        "import os, sys; from rootless.kernel import process, seccomp\n"
        f"process.set_no_new_privs(); seccomp.load_filter({program!r}); os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", code]


def test_apparmors_switch_is_answered_with_the_profile_for_our_executable(tmp_path: Path) -> None:
    def prepare() -> None:
        switches = Path("/proc/sys/kernel")
        kept = {name: (switches / name).read_text() for name in ("seccomp/actions_avail", "random/boot_id")}
        mount("tmpfs", str(switches), "tmpfs", 0, "mode=755")
        for name, text in kept.items():
            (switches / name).parent.mkdir()
            (switches / name).write_text(text)
        (switches / "apparmor_restrict_unprivileged_userns").write_text("1\n")

    command = [*deny_unshare(), executable(), "--root", str(tmp_path / "store"), "doctor", "-f", "json"]
    report = Report(*run_on_host(command, tmp_path, prepare=prepare))
    found = report.of("user namespaces")
    assert "AppArmor denies them" in found["message"]
    profile, load = found["mend"]
    assert profile.startswith("sudo tee /etc/apparmor.d/rootless <<'END'\nabi <abi/4.0>,")
    assert "flags=(unconfined) {\n  userns,\n" in profile
    path = next(line for line in profile.splitlines() if line.startswith("profile rootless ")).split()[2]
    assert os.path.isfile(path)
    assert load == "sudo apparmor_parser -r /etc/apparmor.d/rootless"


def test_a_sandbox_that_forbids_namespaces_is_told(tmp_path: Path) -> None:
    command = [*deny_unshare(), executable(), "--root", str(tmp_path / "store"), "doctor", "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = Report(done.returncode, done.stdout, done.stderr).of("user namespaces")
    assert found["level"] == "problem"
    assert found["message"].startswith("unshare(user): Operation not permitted: forbidden by ")
    assert found["mend"]


def test_a_covered_proc_is_told(tmp_path: Path) -> None:
    def prepare() -> None:
        mount("tmpfs", "/proc/driver", "tmpfs", MS_RDONLY)

    found = doctor(tmp_path, prepare=prepare).of("other namespaces")
    assert found["level"] == "warning"
    assert "/proc cannot be mounted" in found["message"]


@pytest.mark.parametrize("device", ["/dev/net/tun", "/dev/fuse"])
def test_a_device_that_we_may_not_open_is_told(tmp_path: Path, device: str) -> None:
    if not os.path.exists(device):
        pytest.skip(f"needs {device} to cover")
    cover = tmp_path / "cover"
    cover.touch()

    def prepare() -> None:
        os.chown(cover, 0, 0)
        cover.chmod(0o600)
        mount(str(cover), device, None, MS_BIND)

    report = doctor(tmp_path, prepare=prepare)
    found = report.of(device)
    assert "cannot be opened (Permission denied)" in found["message"]
    if device == "/dev/net/tun":
        assert found["level"] == "problem"
        assert found["mend"]


@pytest.mark.parametrize(
    ("script", "level", "words"),
    [
        (None, "problem", "not installed"),
        ("echo slirp4netns version 0.3.0; echo libslirp: 4.7.0", "problem", "0.3.0 is too old"),
        ("echo slirp4netns version 1.1.4", "warning", "security holes"),
        ("exit 127", "problem", "does not run"),
        ("echo slirp4netns version 1.2.1", "ok", "1.2.1"),
    ],
)
def test_slirp4netns_is_judged_by_its_version(
    tmp_path: Path, programs: Callable[..., dict[str, str]], script: str | None, level: str, words: str
) -> None:
    environment = programs("slirp4netns") if script is None else programs(slirp4netns=script)
    found = doctor(tmp_path, environment=environment).of("slirp4netns")
    assert found["level"] == level
    assert words in found["message"]
    assert bool(found["mend"]) == (level != "ok")


def test_a_missing_libseccomp_is_a_problem(tmp_path: Path) -> None:
    places = [path.resolve() for base in ("/usr/lib", "/lib") for path in Path(base).glob("**/libseccomp.so.2")]
    if not places:
        pytest.skip("libseccomp is not where it usually is")
    found = doctor(tmp_path, files={str(path): "" for path in set(places)}).of("seccomp")
    assert found["level"] == "problem"
    assert "libseccomp.so.2" in found["message"]


def test_lingering_matters_where_systemd_runs(tmp_path: Path) -> None:
    def prepare() -> None:
        mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
        os.makedirs("/run/systemd/system")

    report = doctor(tmp_path, prepare=prepare)
    if os.path.exists(f"/var/lib/systemd/linger/{NAME}"):
        assert report.of("lingering")["level"] == "ok"
    else:
        assert report.of("lingering")["mend"] == [f"sudo loginctl enable-linger {NAME}"]


@pytest.mark.parametrize(
    ("value", "words"), [("", "not set"), ("/nowhere", "does not exist"), ("/usr", "belongs to somebody else")]
)
def test_a_runtime_directory_that_will_not_do_is_told(tmp_path: Path, value: str, words: str) -> None:
    found = doctor(tmp_path, environment={"XDG_RUNTIME_DIR": value}).of("XDG_RUNTIME_DIR")
    assert words in found["message"]
    assert found["level"] == "warning"
    assert found["mend"]


def test_a_runtime_directory_open_to_others_is_told(tmp_path: Path) -> None:
    place = tmp_path / "xdg"
    place.mkdir(mode=0o755)
    found = doctor(tmp_path, environment={"XDG_RUNTIME_DIR": str(place)}).of("XDG_RUNTIME_DIR")
    assert found["mend"] == [f"chmod 0700 {place}"]


def test_a_runtime_directory_on_a_disk_is_told_and_one_in_memory_is_fine(tmp_path: Path) -> None:
    place = tmp_path / "xdg"
    place.mkdir(mode=0o700)
    if mount_of(str(tmp_path)).fstype != "tmpfs":
        found = doctor(tmp_path, environment={"XDG_RUNTIME_DIR": str(place)}).of("XDG_RUNTIME_DIR")
        assert found["level"] == "warning"
        assert f"tmpfs {place}" in found["mend"][0]
    (tmp_path / "again").mkdir()
    in_memory = doctor(
        tmp_path / "again",
        environment={"XDG_RUNTIME_DIR": str(place)},
        prepare=lambda: mount("tmpfs", str(place), "tmpfs", 0, f"mode=700,uid={UID}"),
    )
    assert in_memory.of("XDG_RUNTIME_DIR")["level"] == "ok"


@pytest.mark.parametrize("delegated", [True, False])
def test_delegated_control_groups_are_counted(tmp_path: Path, delegated: bool) -> None:
    def prepare() -> None:
        top = Path("/sys/fs/cgroup")
        mount("tmpfs", str(top), "tmpfs", 0, "mode=755")
        own = top / f"user.slice/user-{UID}.slice/user@{UID}.service"
        own.mkdir(parents=True)
        (top / "cgroup.controllers").write_text("cpu cpuset io memory pids\n")
        (own / "cgroup.controllers").write_text("memory pids\n")
        for name in ("cgroup.procs", "cgroup.subtree_control"):
            (own / name).touch()
            if delegated:
                os.chown(own / name, UID, UID)

    found = doctor(tmp_path, prepare=prepare).of("control groups")
    assert found["level"] == "warning"
    assert found["mend"]
    if delegated:
        assert found["message"].startswith("v2, but cpu, cpuset, io not delegated")
    else:
        assert found["message"].startswith("v2, nothing delegated")


def mounted_store(place: Path, flags: int) -> Callable[[], None]:
    def prepare() -> None:
        mount("tmpfs", str(place), "tmpfs", flags & ~MS_RDONLY, f"mode=755,uid={UID}")
        if flags & MS_RDONLY:
            mount(None, str(place), None, MS_REMOUNT | MS_RDONLY)

    return prepare


def test_a_read_only_place_for_the_store_is_a_problem(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    found = doctor(tmp_path, root=place / "store", prepare=mounted_store(place, MS_RDONLY)).of("store")
    assert found["level"] == "problem"
    assert "read-only" in found["message"]
    assert "ROOTLESS_ROOT" in found["mend"][0]


def test_a_place_mounted_noexec_is_a_warning(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    found = doctor(tmp_path, root=place / "store", prepare=mounted_store(place, MS_NOEXEC)).of("store")
    assert found["level"] == "warning"
    assert "noexec" in found["message"]


def test_a_place_of_somebody_else_is_a_problem(tmp_path: Path) -> None:
    found = doctor(tmp_path, root=Path("/usr/rootless-store")).of("store")
    assert found["level"] == "problem"
    assert "/usr is not ours to write" in found["message"]
