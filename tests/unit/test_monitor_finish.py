"""What a monitor records of its container's end, and what it makes of a pause. No container runs here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from rootless.engine import again, cleanup, launchers, records
from rootless.engine.monitor.finish import finish
from rootless.engine.monitor.signals import ENDING
from rootless.engine.records import Container
from rootless.errors import RootlessError
from rootless.kernel.pidfd import myself
from storage.event_log import EventLog
from storage.store import Store

ID = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"), str(tmp_path / "run"), None)


def ours(store: Store, **columns: Any) -> Container:
    """The row of a container whose monitor we are."""
    pid, start, realm = myself()
    values = {
        "id": ID, "name": "c", "image_id": "i", "image_name": "i", "created": 1.0, "request": "{}", "command": "",
        "state": records.RUNNING, "ports": "[]", "labels": "{}", "driver": "vfs", "network": "{}",
        "pid": 7, "pid_start": 8, "monitor_pid": pid, "monitor_start": start, "boot_id": realm, **columns,
    }  # fmt: skip
    records.insert(store.db, values, [], {})
    cleanup.make_run_directory(store, ID)
    return records.find(store.db, "c")


def state_of(store: Store, **more: Any) -> dict[str, Any]:
    """As `Starter.monitor_state`, as far as it matters at the end."""
    return {
        "id": ID, "root": store.root, "runroot": store.runroot, "driver": "vfs", "helper": None, "auto_remove": False,
        "policy": False, "renew": False, "remove_image": "", "foreground": {}, "since": time.monotonic(), "delay": 0.0,
        "pause": None, **more,
    }  # fmt: skip


def deaths(store: Store) -> list[int]:
    return [event["exit"] for event in EventLog(store.root).read() if event["action"] == "died"]


# The end


def test_an_end_is_recorded_and_told(store: Store) -> None:
    ours(store)
    before = time.time()
    finish(state_of(store), 5, store)
    row = records.find(store.db, "c")
    assert (row.state, row.exit_code, row.pid, row.pid_start) == (records.EXITED, 5, 0, 0)
    assert (row.monitor_pid, row.monitor_start) == (0, 0)
    assert before <= row.finished <= time.time()
    assert deaths(store) == [5]
    assert not Path(cleanup.run_directory(store, ID)).exists()


@pytest.mark.parametrize("policy", [False, True])
def test_what_was_to_go_at_its_end_goes(store: Store, policy: bool) -> None:
    restart = {"restart": "on-failure", "auto_remove": 1} if policy else {"auto_remove": 1}
    ours(store, **restart)
    finish(state_of(store, auto_remove=True, policy=policy), 0, store)
    assert records.get(store.db, ID) is None
    assert deaths(store) == [0]


def test_a_policy_keeps_what_was_to_go(store: Store) -> None:
    ours(store, restart="on-failure", auto_remove=1)
    state = state_of(store, auto_remove=True, policy=True)
    finish(state, 1, store)
    row = records.find(store.db, "c")
    assert (row.state, row.monitor_pid, row.exit_code) == (records.RESTARTING, os.getpid(), 1)
    assert state["pause"] == 0.1
    assert deaths(store) == [1]


@pytest.mark.parametrize(("more", "stopped"), [({"asked": True}, 0), ({}, 1)], ids=["Ctrl-C", "stop"])
def test_who_ends_a_container_ends_its_policy(store: Store, more: dict[str, Any], stopped: int) -> None:
    ours(store, restart="always", stopped=stopped)
    state = state_of(store, **more)
    finish(state, 1, store)
    assert (records.find(store.db, "c").state, state["pause"]) == (records.EXITED, None)


def test_signals_that_end_a_policy_wait_for_whoever_waits(store: Store) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ours(store, restart="always")
    try:
        finish(state_of(store, foreground=None), 1, store)
        assert {signal.SIGTERM, signal.SIGINT} <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize(
    ("restart", "stopped", "meanwhile", "state"),
    [
        ("", 0, {"state": records.STOPPING}, records.EXITED),
        ("always", 0, {"state": records.STOPPING, "stopped": 1}, records.EXITED),
        ("always", 1, {"state": records.STOPPING, "stopped": 0}, records.RESTARTING),
    ],
    ids=["stop", "stop-with-policy", "stop-broken-off"],
)
def test_a_row_that_changes_meanwhile_is_looked_at_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, restart: str, stopped: int, meanwhile: dict[str, Any], state: str
) -> None:
    ours(store, restart=restart, stopped=stopped)
    record = cleanup.record_end

    def late(store: Store, container: Container, changes: dict[str, Any]) -> bool:
        monkeypatch.undo()
        records.update(store.db, ID, **meanwhile)
        return record(store, container, changes)

    monkeypatch.setattr(cleanup, "record_end", late)
    finish(state_of(store), 5, store)
    row = records.find(store.db, "c")
    assert (row.state, row.monitor_pid) == (state, os.getpid() if state == records.RESTARTING else 0)


def test_whoever_has_been_taken_for_dead_changes_nothing(store: Store) -> None:
    ours(store, monitor_pid=os.getpid() + 1)
    finish(state_of(store), 5, store)
    assert records.find(store.db, "c").state == records.RUNNING
    assert deaths(store) == []


# The pause


def life(store: Store, **state: Any) -> int:
    """The exit code of a process that lives as the one that waits for `state["pause"]`."""
    pid = os.fork()
    if pid == 0:
        store.forget()
        own = Store(store.root, store.runroot, None)
        me, start, realm = myself()
        if not state.pop("taken", False):
            records.update(own.db, ID, monitor_pid=me, monitor_start=start, boot_id=realm)
        own.forget()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        if state.pop("ignores", False):
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
        if state.pop("told", False):
            os.kill(os.getpid(), signal.SIGTERM)
        code = again.wait_and_start({**state_of(store), "acting": 0, "pause": 0.01, "code": 9, **state})
        os._exit(code if isinstance(code, int) else 99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("columns", "state"), [({}, {"told": True, "pause": 60.0}), ({"stopped": 1}, {})], ids=["signal", "stopped"]
)
@pytest.mark.parametrize("auto_remove", [0, 1])
def test_who_is_to_end_during_the_pause_ends(
    store: Store, columns: dict[str, Any], state: dict[str, Any], auto_remove: int
) -> None:
    ours(store, state=records.RESTARTING, restart="on-failure", restarts=2, auto_remove=auto_remove, **columns)
    assert life(store, **state) == 9
    row = records.get(store.db, ID)
    if auto_remove:
        assert row is None
    else:
        assert row is not None
        assert (row.state, row.stopped, row.restarts, row.monitor_pid) == (records.EXITED, 1, 2, 0)


@pytest.mark.parametrize("state", [records.EXITED, records.RESTARTING])
def test_what_somebody_else_has_taken_is_left_alone(store: Store, state: str) -> None:
    ours(store, state=state, restart="always", restarts=2)
    assert life(store, taken=True) == 9
    row = records.find(store.db, "c")
    assert (row.state, row.restarts, row.monitor_pid) == (state, 2, os.getpid())


def starts(monkeypatch: pytest.MonkeyPatch, failing: RootlessError, number: int = 0) -> None:
    """A start sends itself a signal and fails, as `launchers.existing_container` does: the row is left as it was."""

    def begin(store: Store, container: Container, tell: object, again: bool) -> Any:
        def launch() -> None:
            assert (again, container.state) == (True, records.EXITED)
            if number:
                os.kill(os.getpid(), number)
            records.update(store.db, ID, monitor_pid=0, monitor_start=0, error=str(failing))
            raise failing

        return launch

    def live_on(state: dict[str, Any], code: int) -> None:
        os._exit(100 + code if state["pause"] == 0.02 else 1)

    monkeypatch.setattr(launchers, "existing_container", begin)
    monkeypatch.setattr(again, "live_on", live_on)


@pytest.mark.parametrize(("restart", "later"), [("always", True), ("on-failure:4", True), ("on-failure:3", False)])
def test_a_start_that_fails_is_tried_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, restart: str, later: bool
) -> None:
    starts(monkeypatch, RootlessError("the port is taken", exit_code=7))
    ours(store, state=records.RESTARTING, restart=restart, restarts=2)
    assert life(store, foreground=None) == (107 if later else 7), "after twice the pause, or not at all"
    row = records.find(store.db, "c")
    assert (row.restarts, row.error) == (3, "the port is taken")
    assert (row.state, row.monitor_pid != 0) == (records.RESTARTING if later else records.EXITED, later)


def test_what_was_to_go_goes_when_the_last_start_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch, RootlessError("the port is taken", exit_code=7))
    ours(store, state=records.RESTARTING, restart="on-failure:3", restarts=2, auto_remove=1)
    assert life(store, foreground=None) == 7
    assert records.get(store.db, ID) is None


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("ignores", [False, True])
def test_signals_end_a_start(store: Store, monkeypatch: pytest.MonkeyPatch, number: int, ignores: bool) -> None:
    """During the pause they waited, or whoever started us had us ignore them."""
    starts(monkeypatch, RootlessError("no signal"), number)
    ours(store, state=records.RESTARTING, restart="always")
    assert life(store, foreground=None, ignores=ignores) == -number
