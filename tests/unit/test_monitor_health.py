"""When a monitor has its container checked, and how checks end. No container runs here."""

from __future__ import annotations

import ctypes
import marshal
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rootless.engine import health_check as checks
from rootless.engine import health_child as child
from rootless.engine import records
from rootless.engine.monitor.health import Health
from rootless.engine.monitor.poller import Poller
from rootless.kernel.pidfd import open_pidfd
from storage.store import Store
from tests.unit.test_health_results import Checked

_PR_GET_PDEATHSIG = 2


class Moments(Poller):
    """Keeps what is due, for the test to call."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], None]] = []

    def after(self, seconds: float, handler: Callable[[], None]) -> None:
        self.due.append(handler)


def test_of_several_appointments_the_last_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`update` has a container checked at once; the appointment from before is none any more."""
    checked: list[Health] = []
    monkeypatch.setattr(Health, "_check", lambda self: checked.append(self))
    poller = Moments()
    health = Health({}, poller)
    health.begin()
    health.begin()
    poller.due[0]()
    assert checked == []
    poller.due[1]()
    assert checked == [health]


def under_way(acts: bool) -> tuple[Health, dict[str, Any], int, int]:
    """Checks of which one is at work; the state of the monitor, the child that checks, and a pipe: where it has come to
    its end undisturbed there is a byte in it."""
    state: dict[str, Any] = {"rootfs": -1, "acting": 0}
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        time.sleep(10)
        os.write(writer, b"x")
        os._exit(0)
    os.close(writer)
    health = Health(state, Moments())
    health._child, health._reader, health._acts = pid, os.dup(reader), acts
    return health, state, pid, reader


def test_a_check_ends_with_its_container() -> None:
    health, state, pid, reader = under_way(acts=False)
    health.end()
    assert os.read(reader, 1) == b""
    assert (state["acting"], health._child) == (0, 0)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    os.close(reader)


def test_a_check_that_has_ended_the_container_goes_on() -> None:
    health, state, pid, reader = under_way(acts=True)
    health.end()
    assert state["acting"] == pid
    assert not select.select([reader], [], [], 0)[0]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(health._reader)
    os.close(reader)


def dies_with_its_parent() -> int:
    """The signal that we get when our parent ends."""
    found = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(found))
    return found.value


@pytest.mark.parametrize("action", ["none", "stop"])
def test_a_child_dies_with_its_monitor_unless_it_ends_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    checked = Checked(tmp_path)
    store, monitor = checked.store, os.getpid()
    records.update(
        store.db, checked.row.id, request='{"health": {"Test": ["CMD", "true"], "Interval": 0, "Timeout": 1}}'
    )
    reader, writer = os.pipe()

    def check(store: Store, row: records.Container, *rest: object) -> tuple[None, SimpleNamespace]:
        os.write(writer, b"check %d;" % dies_with_its_parent())
        return None, SimpleNamespace(delay=7.5, action=action)

    def act(store: Store, row: records.Container, action: str) -> None:
        os.write(writer, f"{action} {dies_with_its_parent()};".encode())

    monkeypatch.setattr(checks, "check", check)
    monkeypatch.setattr(checks, "act", act)
    report, told = os.pipe()
    pid = checked.row.pid
    store.forget()
    if (process := os.fork()) == 0:
        where = {"root": store.root, "runroot": store.runroot, "driver": None, "id": "a" * 64}
        child.main({**where, "report": told, "monitor": monitor, "pid": pid, "since": 0.0})
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    assert marshal.loads(os.read(report, 100)) == (7.5, action)
    assert os.read(reader, 100) == (b"check 9;stop 0;" if action == "stop" else b"check 9;")
    for fd in (reader, writer, report, told):
        os.close(fd)


def test_all_of_a_session_ends_with_a_check_that_takes_too_long() -> None:
    """Also what has a process group of its own, as the jobs of a shell that controls them."""
    program = "import os, time\nif os.fork() == 0: os.setpgid(0, 0)\nos.write(1, b'.')\ntime.sleep(60)"
    words = [sys.executable, "-c", program]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        assert process.stdout.read(2) == b"..", "both are there"
        pipe = process.stdout.fileno()
        os.set_blocking(pipe, False)
        entered: Any = SimpleNamespace(pid=process.pid, pidfd=open_pidfd(process.pid))
        checks._end(entered, checks._Output(pipe, 100))
        os.close(entered.pidfd)
        assert select.select([pipe], [], [], 10)[0], "somebody holds the pipe: not all of the session has ended"
        assert os.read(pipe, 1) == b""
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
