"""Options that come from Docker's commands: signals of `stop`, links of `cp`, details of `logs`, filters of `ps`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until

NONE = ("--network", "none")
ENDS_ON_HUP = "trap 'exit 7' HUP; trap '' TERM; echo ready; while :; do sleep 0.05; done"


def waiting(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", ENDS_ON_HUP)
    wait_until(lambda: "ready" in rl.out("logs", "c"))


def test_stop_sends_the_signal_that_is_named(rl: Rootless, image: str) -> None:
    waiting(rl, image)
    refused = rl("stop", "-s", "NOSUCH", "c", check=False)
    assert (refused.returncode, rl.status("c")) == (125, "running")
    assert rl.out("stop", "-t", "30", "--signal", "SIGHUP", "c") == "c"
    assert rl.inspect("c")["State"]["ExitCode"] == 7


def test_restart_sends_the_signal_that_is_named(rl: Rootless, image: str) -> None:
    waiting(rl, image)
    pid = rl.inspect("c")["State"]["Pid"]
    done = rl("restart", "-t", "30", "-s", "HUP", "c", timeout=20)
    assert (done.stdout, done.stderr) == ("c\n", ""), "nothing had to be killed"
    state = rl.inspect("c")["State"]
    assert state["Status"] == "running"
    assert state["Pid"] != pid


def test_cp_follows_links_with_dockers_option_too(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("run", "--name", "c", *NONE, image, "sh", "-c", "echo text > /f; ln -s f /l")
    assert rl("cp", "-qL", "c:/l", str(tmp_path / "copy")).stdout == ""
    assert not (tmp_path / "copy").is_symlink()
    assert (tmp_path / "copy").read_text() == "text\n"


def test_a_quiet_cp_does_not_tell_what_it_left_out(rl: Rootless, image: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        device = tarfile.TarInfo("null")
        device.type, device.devmajor, device.devminor = tarfile.CHRTYPE, 1, 3
        archive.addfile(device)
    (rl.place / "device.tar").write_bytes(out.getvalue())
    rl("create", "--name", "c", *NONE, image, "true")
    for options, told in ((), True), (("--quiet",), False):
        with open(rl.place / "device.tar", "rb") as archive_file:
            done = rl("cp", *options, "-", "c:/", stdin=archive_file)
        assert ("left out" in done.stderr) == told


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--log-opt", "tag={{.Name}}", "--log-opt", "labels=b,a", "--log-opt", "env=E"), "E=x%2Fy+z,a=1,b=,tag=c "),
        ((), " "),
    ],
)
def test_details_are_what_log_options_have_chosen(
    rl: Rootless, image: str, options: tuple[str, ...], expected: str
) -> None:
    chosen = ("--label", "a=1", "--label", "b", "--label", "other=2", "--env", "E=x/y z")
    rl("run", "--name", "c", *NONE, "--log-driver", "json-file", *options, *chosen, image, "sh", "-c", "echo 1; echo 2")
    assert rl("logs", "--details", "c").stdout == f"{expected}1\n{expected}2\n"
    stamped = rl("logs", "--details", "-t", "-n", "c").stdout.splitlines()
    assert [line.split(" ", 2)[2] for line in stamped] == [f"{expected}1", f"{expected}2"]
    assert all(line.startswith("c 20") for line in stamped)
    assert rl("logs", "c").stdout == "1\n2\n"


def test_details_are_refused_where_a_log_has_none(rl: Rootless, image: str) -> None:
    rl("run", "--name", "c", *NONE, image, "echo", "x")
    done = rl("logs", "--details", "c", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "k8s-file keeps lines alone" in done.stderr


def test_a_tag_in_podmans_format_is_answered_with_the_drivers_that_have_it(rl: Rootless, image: str) -> None:
    done = rl("create", *NONE, "--log-opt", "tag=x", image, check=False)
    assert done.returncode == 125
    assert "--log-driver json-file or journald has tag=" in done.stderr


def test_dockers_filters_of_ports_and_tasks(rl: Rootless, image: str) -> None:
    rl("create", "--name", "web", "--network", "slirp4netns", "-p", "18080:80", "-p", "18053:53/udp", image)
    rl("create", "--name", "other", *NONE, "--expose", "90-91", image)

    def found(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return rl.out("ps", "-a", "--format", "{{.Names}}", *words).split()

    assert found("publish=18080") == ["web"]
    assert found("publish=18000-18100/tcp") == ["web"]
    assert found("publish=18053") == []
    assert found("publish=18053/udp") == ["web"]
    assert found("publish=80") == []
    assert found("expose=80") == ["web"]
    assert found("expose=91", "expose=53/udp") == ["web", "other"]
    assert found("expose=92") == []
    assert found("is-task=false") == ["web", "other"]
    assert found("is-task=true") == []
    for wrong in ("publish=x", "expose=0", "expose=1-70000", "is-task=perhaps"):
        assert rl("ps", "--filter", wrong, check=False).returncode == 125


def test_dockers_count_of_volumes(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, "-v", "one:/a", "-v", "/b", "-v", f"{rl.place}:/c", image)
    assert rl.out("ps", "-a", "--format", "{{.LocalVolumes}}") == "2"


def test_a_driver_that_is_not_needed_is_a_note(rl: Rootless) -> None:
    checks = json.loads(rl("doctor", "--format", "json", check=False).stdout)["checks"]
    refused = [one for one in checks if one["check"].startswith("driver ") and one["check"] != "driver overlay"]
    assert all(one["level"] == "note" and "does not work here" in one["message"] for one in refused)
    assert not any(one["level"] == "ok" and "does not work" in one["message"] for one in checks)
    report = rl("doctor", check=False).stdout
    assert all(f"note     {one['check']}" in report for one in refused)


def test_files_of_another_package_in_the_place_of_ours_are_named(rl: Rootless, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").touch()
    start = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from rootless.cli.main import entry; entry(['x', 'ps'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", start], env={**os.environ, **rl.environment}, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert "rootless is damaged: No module named 'storage." in done.stderr
    assert "pipx install rootless" in done.stderr


def test_the_users_own_group_is_among_its_groups(rl: Rootless, image: str) -> None:
    def groups(*options: str) -> set[str]:
        return set(rl.out("run", "--rm", *NONE, *options, image, "id", "-G").split())

    def supplementary(*options: str) -> list[str]:
        line = rl.out("run", "--rm", *NONE, *options, image, "grep", "^Groups:", "/proc/self/status")
        return line.split()[1:]

    assert groups("-u", "1000:1000", "--group-add", "5") == {"1000", "5"}
    assert supplementary("-u", "1000:1000", "--group-add", "5") == ["5", "1000"], "as podman 5.4 has them"
    assert supplementary("-u", "5:7") == ["7"]
    rl("run", "-d", "--name", "c", *NONE, "-u", "5:7", image, "sleep", "60")
    assert rl.out("exec", "c", "grep", "^Groups:", "/proc/self/status").split()[1:] == ["7"]


def test_variables_of_the_host_come_after_those_that_are_unset(rl: Rootless, image: str) -> None:
    words = ("run", "--rm", *NONE, "--env-host", "--unsetenv", "FOO", image, "sh", "-c", "echo $FOO")
    assert rl.out(*words, env={"FOO": "1"}) == "1", "as podman 5.4 does"
