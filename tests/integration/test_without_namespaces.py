"""Hosts that forbid user namespaces (HOSTILE 33), and being root of a container already."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rootless.kernel.idmaps import UserMap, default_user_map
from rootless.kernel.userns import UserNamespace
from tests.support.command import Rootless, executable
from tests.support.hosts import OddHost


def forbid() -> None:
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def test_forbidden_user_namespaces_are_an_error_with_the_remedy(fresh: Rootless, tmp_path: Path, busybox: Path) -> None:
    host = OddHost(fresh, tmp_path / "hosts", prepare=forbid)
    for command in (["load", "-i", str(busybox)], ["import", str(busybox)], ["run", "busybox", "id"]):
        code, output, errors = host(*command)
        assert (code, output) == (125, "")
        assert "sysctl user.max_user_namespaces=" in errors
        assert "Traceback" not in errors
    for command in (["images", "-q"], ["ps", "-aq"]):
        assert host(*command) == (0, "", "")
    for directory in ("layers", "containers", "tmp", "blobs/sha256"):
        assert os.listdir(fresh.root / directory) == []
    code, output, _ = host("doctor")
    assert code == 1
    assert "user.max_user_namespaces is 0" in output


def inside(rl: Rootless, user_map: UserMap, script: str) -> subprocess.CompletedProcess[str]:
    """A shell script as root of a container around us; the command is `rootless`."""
    path = f"{os.path.dirname(executable())}:{rl.environment['PATH']}"

    def run() -> tuple[int, str, str]:
        done = subprocess.run(
            ["sh", "-c", script],
            env={**rl.environment, "PATH": path},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    namespace = UserNamespace.create(user_map)
    try:
        return subprocess.CompletedProcess(script, *namespace.run(run, mount_ns=True))
    finally:
        namespace.close()


@pytest.fixture
def ids() -> UserMap:
    base = default_user_map()
    if base.single:
        pytest.skip(f"needs subordinate ids: {base.reason}")
    return base


def test_root_of_a_container_runs_containers_of_the_ids_that_it_has(
    fresh: Rootless, busybox: Path, image: str, ids: UserMap
) -> None:
    done = inside(
        fresh,
        ids,
        f"set -e; rootless load -q -i {busybox} >/dev/null; "
        f"rootless run --rm {image} sh -c 'id -u; stat -c %u /home/alice; grep -c . /sys/class/net/tap0/mtu'; "
        f"rootless run --rm --network none -u alice {image} id -u; "
        f"rootless run -d --name x --network none {image} sleep 100 >/dev/null; rootless exec x id -u; "
        "rootless rm -f -t 0 x; rootless rmi -a >/dev/null",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1000\n1\n1000\n0\nx\n", "")


def test_root_of_a_container_with_few_ids_runs_what_fits(
    fresh: Rootless, busybox: Path, image: str, ids: UserMap
) -> None:
    few = UserMap([ids.uids[0], (1, ids.uids[1][1], 9)], [ids.gids[0], (1, ids.gids[1][1], 9)])
    done = inside(
        fresh,
        few,
        f"set -e; rootless load -q -i {busybox} >/dev/null; "
        f"rootless run --rm --network none {image} stat -c %u /home/alice; "
        f"rootless run --rm --network none -u 5 {image} id -u; "
        f"rootless run --rm --network none -u 1000:1000 {image} true",
    )
    assert done.returncode == 125
    assert done.stdout == "0\n5\n"
    assert "running as gid 1000: that id is not mapped" in done.stderr
    assert "/etc/subuid" in done.stderr


def test_root_of_a_container_with_one_id_is_warned(fresh: Rootless, busybox: Path, image: str) -> None:
    one = UserMap([(0, os.getuid(), 1)], [(0, os.getgid(), 1)], True, "test")
    load, run = (inside(fresh, one, f"rootless {words}") for words in (f"load -q -i {busybox}", f"run --rm {image} id"))
    for done in (load, run):
        assert done.returncode == 0
        assert done.stderr.count("Warning:") == 1
        assert "the container around us has one user id only" in done.stderr
    assert run.stdout.startswith("uid=0(root)")


def test_root_whose_containers_would_not_be_root_is_sent_to_an_ordinary_user(
    fresh: Rootless, busybox: Path, image: str, ids: UserMap
) -> None:
    """Its private directories keep out the ids that containers get: said at once, before anything is unpacked."""
    script = (
        f"set -e; echo root:2000:300 > {fresh.place}/subid; "
        f"for file in /etc/subuid /etc/subgid; do mount --bind {fresh.place}/subid $file; done; set +e; "
        f"rootless load -q -i {busybox}; echo $?; rootless ps -a -q; rootless doctor | grep '^PROBLEM *id map'"
    )
    done = inside(fresh, ids, script)
    lines = done.stdout.splitlines()
    assert lines[0] == "125"
    assert lines[1].endswith("we are root, whose store the ids of containers cannot reach"), lines
    assert "working as root" in done.stderr
    assert "as an ordinary user" in done.stderr


WITHHOLD = """
import os, sys
from rootless.kernel.seccomp import load_filter
from rootless.runtime.seccomp_profile import program
rule = {"names": sys.argv[1].split(","), "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
load_filter(program({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, []))
os.execvp("sh", ["sh", "-c", sys.argv[2]])
"""


@pytest.mark.parametrize("calls", ["mount,fsopen,open_tree,move_mount,mount_setattr", "unshare", "setns"])
def test_rights_that_are_withheld_in_user_namespaces_are_an_error_that_sends_to_doctor(
    fresh: Rootless, busybox: Path, image: str, ids: UserMap, calls: str
) -> None:
    """As AppArmor's restriction of unprivileged user namespaces does: they can be made, and give no rights."""
    assert inside(fresh, ids, f"rootless load -q -i {busybox}").returncode == 0
    place = fresh.place / "withhold.py"
    place.write_text(WITHHOLD)
    python = Path(executable()).with_name("python")
    for words in (f"run --rm --network none {image} id", f"import {busybox} another"):
        done = inside(fresh, ids, f"PYTHONPATH={os.getcwd()} {python} {place} {calls} 'rootless {words}'")
        if calls != "setns" or "import" in words:  # a start needs none
            assert (done.returncode, done.stdout) == (125, "")
            assert "EPERM" in done.stderr
            assert "rootless doctor" in done.stderr
    assert inside(fresh, ids, "rootless ps -aq; rootless rmi -a >/dev/null").stdout == ""


def nested(rl: Rootless, image: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A shell script in a container that sees this host's programs and the source."""
    inner = rl.place / "nested"
    inner.mkdir(exist_ok=True)
    here = Path(__file__).resolve().parents[2]
    mounts = [f"{name}:{name}:ro" for name in {"/usr", str(here), str(Path(executable()).parents[1])}]
    mounts += [f"/usr/{name}:/{name}:ro" for name in ("bin", "sbin", "lib", "lib64") if os.path.isdir(f"/usr/{name}")]
    volumes = [word for mount in [*mounts, f"{inner}:{inner}"] for word in ("-v", mount)]
    environment = {
        "ROOTLESS_ROOT": f"{inner}/root",
        "ROOTLESS_RUNROOT": f"{inner}/run",
        "PATH": f"{os.path.dirname(executable())}:/usr/bin:/usr/sbin",
        "PYTHONPATH": str(here),
    }
    variables = [word for key, value in environment.items() for word in ("-e", f"{key}={value}")]
    return rl("run", "--rm", *options, *volumes, *variables, image, "/usr/bin/sh", "-c", script, check=False)


def test_containers_run_in_a_privileged_container(fresh: Rootless, busybox: Path, image: str, ids: UserMap) -> None:
    fresh("load", "-q", "-i", str(busybox))
    devices = ("-v", "/dev/net/tun:/dev/net/tun", "--tmpfs", "/run")
    done = nested(
        fresh,
        image,
        f"set -e; rootless load -q < {busybox} >/dev/null; rootless run --rm {image} sh -c 'id -u; hostname | wc -c'; "
        f"rootless run --rm --network none -u alice {image} id -u; rootless rmi -a > /dev/null",
        "--privileged",
        *devices,
        "-v",
        f"{busybox}:{busybox}:ro",
    )
    assert (done.returncode, done.stdout) == (0, "0\n13\n1000\n"), done.stderr


def test_an_ordinary_container_around_us_is_named_where_it_forbids_containers(
    fresh: Rootless, busybox: Path, image: str, ids: UserMap
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    done = nested(
        fresh,
        image,
        f"rootless load -q -i {busybox} >/dev/null && rootless run --rm --network none {image} id; echo $?; "
        "rootless ps -aq; rootless rmi -a",
        "-v",
        f"{busybox}:{busybox}:ro",
    )
    assert done.stdout.startswith("125\n"), done
    assert "run that one with --privileged" in done.stderr
