"""`run -d`: what is told, what is kept of the caller, and what the monitor costs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.support.command import Rootless, wait_until


def test_detached_prints_the_id_once_it_runs(rl: Rootless, image: str) -> None:
    container_id = rl.out("run", "-d", "--name", "web", "--network", "none", image, "sleep", "60")
    found = rl.inspect("web")
    assert found["Id"] == container_id
    assert found["State"]["Running"] is True
    assert os.readlink(f"/proc/{found['State']['Pid']}/ns/pid") != os.readlink("/proc/self/ns/pid")


def test_detached_failures_are_told_by_the_command(rl: Rootless, image: str) -> None:
    done = rl("run", "-d", "--rm", "--network", "none", image, "no-such-command", check=False)
    assert (done.returncode, done.stdout) == (127, "")
    assert "no-such-command" in done.stderr
    assert rl.out("ps", "-aq") == ""


def test_detached_holds_none_of_the_callers_pipes(rl: Rootless, image: str) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    rl("run", "-d", "--network", "none", image, "sleep", "60", close_fds=False)
    os.close(writer)
    finished = threading.Event()

    def read() -> None:
        os.read(reader, 1)
        finished.set()

    threading.Thread(target=read, daemon=True).start()
    assert finished.wait(5), "the monitor keeps the caller's pipe open"
    os.close(reader)


def test_nothing_binds_it_to_the_callers_session(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    monitor = rl.inspect("c")["State"]["ConmonPid"]
    assert os.getsid(monitor) == monitor
    assert [os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3


def test_monitor_is_lean(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "lean", "--network", "none", image, "sleep", "60")
    monitor = rl.inspect("lean")["State"]["ConmonPid"]

    def is_lean() -> bool:
        return b"lean.py" in Path(f"/proc/{monitor}/cmdline").read_bytes()

    wait_until(is_lean)
    assert "sqlite" not in Path(f"/proc/{monitor}/maps").read_text()


def test_removed_at_its_end(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--rm", "--name", "short", "--network", "none", image, "true")
    wait_until(lambda: rl.out("ps", "-aq") == "", what="the removal")
