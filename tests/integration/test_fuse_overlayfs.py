"""A container whose root file system is served by a process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import _own_store, need
from tests.support.command import Rootless, wait_until
from tests.support.images import NAME


@pytest.fixture
def fuse(tmp_path: Path, busybox: Path) -> Iterator[Rootless]:
    need("fuse-overlayfs")
    for command in _own_store(tmp_path, "fuse-overlayfs"):
        command("load", "-q", "-i", str(busybox))
        yield command


def serving(command: Rootless, container: str) -> int:
    return int((command.root / "containers" / container / "fuse-overlayfs.pid").read_text())


def test_the_serving_process_is_not_to_be_seen_inside(fuse: Rootless) -> None:
    run = fuse("run", "--rm", "--network", "none", NAME, "sh", "-c", "ps; cat /proc/*/cmdline; mount")
    assert "lowerdir" not in run.stdout
    assert "fuse-overlayfs on / " in run.stdout


def test_what_a_killed_health_check_leaves_is_reaped(fuse: Rootless) -> None:
    """Its monitor is a subreaper: a zombie of the container's would keep the container from ending."""
    checked = ("--health-cmd", "sleep 1000", "--health-interval", "1h", "--health-timeout", "1h")
    fuse("run", "-d", "--name", "c", "--network", "none", "--stop-timeout", "0", *checked, NAME, "sleep", "1000")
    state = fuse.inspect("c")["State"]
    children = Path(f"/proc/{state['ConmonPid']}/task/{state['ConmonPid']}/children")
    ours = {str(state["Pid"]), str(serving(fuse, fuse.inspect("c")["Id"]))}

    def command_of_check() -> str:
        (check,) = set(children.read_text().split()) - ours or {""}
        return Path(f"/proc/{check}/task/{check}/children").read_text().strip() if check else ""

    wait_until(lambda: " " not in command_of_check() != "", what="a check")
    command = command_of_check()
    wait_until(lambda: b"1000" in Path(f"/proc/{command}/cmdline").read_bytes(), what="its command")
    (check,) = set(children.read_text().split()) - ours
    os.kill(int(check), 9)
    wait_until(lambda: set(children.read_text().split()) == ours, what="that nothing is left of the check")
    fuse("rm", "-f", "c")


def test_the_death_of_the_serving_process_ends_the_container_and_is_told(fuse: Rootless) -> None:
    container = fuse("run", "-d", "--network", "none", NAME, "sleep", "100").stdout.strip()
    os.kill(serving(fuse, container), 9)
    code = fuse("wait", container, timeout=20).stdout.strip()
    assert code in ("137", "135")  # killed by us, or by the kernel when it touched a page of its program
    state = fuse("inspect", "--format", "{{.State.Status}} {{.State.Error}}", container).stdout
    assert state.startswith("exited fuse-overlayfs has ended")
    fuse("rm", container)


def test_the_serving_process_goes_when_the_monitor_is_killed(fuse: Rootless) -> None:
    container = fuse("run", "-d", "--network", "none", NAME, "sleep", "100").stdout.strip()
    server = serving(fuse, container)
    os.kill(int(Path(f"/proc/{server}/stat").read_text().rpartition(") ")[2].split()[1]), 9)
    end = time.monotonic() + 10
    while Path(f"/proc/{server}/stat").exists() and " Z " not in Path(f"/proc/{server}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    fuse("rm", "-f", container)
