"""Ending containers and waiting for that, on rows and processes that stand for them. No container runs here."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from rootless.engine import records
from rootless.engine import stop as stopping
from rootless.engine.recover import condition
from rootless.engine.stop import await_record, stop, wait
from rootless.errors import RootlessError
from rootless.kernel.pidfd import start_time
from storage.store import Store
from tests.support.command import wait_until
from tests.unit.test_states_of_rows import ID, container, monitored_by, sleeper, store

__all__ = ["sleeper", "store"]


def script(text: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE)


def runs_as(process: subprocess.Popen[bytes]) -> dict[str, object]:
    """The columns of a row whose pid 1 and monitor this process is."""
    return {"pid": process.pid, "pid_start": start_time(process.pid) or 0, **monitored_by(process.pid)}


def in_child(action: Any) -> int:
    """The exit code of a process that does this; of SIGALRM where it takes too long."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def awaits(store: Store) -> int:
    """As `in_child`, for waiting until the monitor has recorded the end."""
    store.forget()

    def action() -> None:
        own = Store(store.root, store.runroot, None)
        await_record(own, records.find(own.db, "c"), None)

    return in_child(action)


def test_a_negative_time_is_for_ever(store: Store) -> None:
    with script("trap 'sleep 2; exit 9' TERM; echo; while :; do sleep 0.05; done") as process:
        assert process.stdout is not None
        process.stdout.readline()
        container(store, **runs_as(process))
        stop(store, "c", -1)
        assert process.wait() == 9, "not killed after a second"


def test_a_monitor_that_is_stopped_is_woken(store: Store) -> None:
    with script("kill -STOP $$; exit 5") as monitor:
        row = container(store, **monitored_by(monitor.pid))
        wait_until(lambda: condition(monitor.pid, row.monitor_start, row.boot_id) == "T")
        assert awaits(store) == 0
        assert monitor.wait() == 5, "not killed"


def test_a_monitor_that_does_not_manage_is_killed(
    store: Store, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_PATIENCE", 0.2)
    container(store, **monitored_by(sleeper.pid))
    assert awaits(store) == 0
    assert sleeper.wait(10) == -signal.SIGKILL


def test_a_stop_that_is_broken_off_leaves_a_running_container_and_its_policy(
    store: Store, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    container(store, restart="always", **runs_as(sleeper))

    def interrupt(store: Store, row: records.Container, *rest: object) -> None:
        assert (records.find(store.db, "c").state, row.stopped) == (records.STOPPING, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(stopping, "_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stop(store, "c")
    row = records.find(store.db, "c")
    assert (row.state, row.stopped) == (records.RUNNING, 0)


@pytest.mark.parametrize("conditions", [["removed"], ["exited", "removed"], None, ["exited", "paused"]])
def test_waiting_for_one_that_is_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch, conditions: list[str] | None
) -> None:
    container(store, exit_code=6, **monitored_by(os.getpid()))
    monkeypatch.setattr(time, "sleep", lambda seconds: records.delete(store.db, ID))
    if "removed" in (conditions or []):
        assert wait(store, "c", conditions) == 6
    else:
        with pytest.raises(RootlessError, match="waiting for c: it was removed"):
            wait(store, "c", conditions)
