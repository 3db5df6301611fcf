"""What is told of a container by its row, its processes and its locks, and who may change that; nothing runs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rootless.cli.selection import _suits, references
from rootless.engine import cleanup, records, recover, stopping
from rootless.engine.bundle import hold
from rootless.engine.clone import clone
from rootless.engine.exec_sessions import Session, sessions
from rootless.engine.records import Container
from rootless.engine.request import CreateRequest
from rootless.engine.restart import end
from rootless.engine.stop import kill
from rootless.errors import ConflictError, NotFoundError, UsageError
from rootless.jsontext import dumps, loads
from rootless.kernel.pidfd import boot_id, realm, start_time
from storage.event_log import EventLog
from storage.progress import Progress
from storage.store import Store
from tests.support.command import wait_until

ID = "a" * 64
ELSEWHERE = "another-boot/1/1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"), str(tmp_path / "run"), None)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def container(store: Store, **columns: object) -> Container:
    """A row in the store, with its run directory."""
    values = {
        "id": ID, "name": "c", "image_id": "i", "image_name": "i", "created": 1.0, "request": "{}", "command": "",
        "state": records.RUNNING, "ports": "[]", "labels": "{}", "driver": "vfs", "network": "{}", **columns,
    }  # fmt: skip
    records.insert(store.db, values, [], {})
    cleanup.make_run_directory(store, ID)
    return records.find(store.db, "c")


def monitored_by(pid: int) -> dict[str, object]:
    return {"monitor_pid": pid, "monitor_start": start_time(pid) or 0, "boot_id": realm()}


# Processes


def test_a_process_is_known_by_its_number_its_start_and_its_realm(sleeper: subprocess.Popen[bytes]) -> None:
    start = start_time(sleeper.pid) or 0
    assert recover.lives(sleeper.pid, start, realm())
    assert not recover.lives(sleeper.pid, start + 1, realm())
    assert not recover.lives(sleeper.pid, start, ELSEWHERE)
    assert not recover.lives(0, start, realm())


def test_one_that_only_waits_to_be_reaped_does_not_live(sleeper: subprocess.Popen[bytes]) -> None:
    start = start_time(sleeper.pid) or 0
    sleeper.kill()
    wait_until(lambda: recover.condition(sleeper.pid, start, realm()) == "Z")
    assert not recover.lives(sleeper.pid, start, realm())


def test_what_cannot_be_seen_from_here_is_said(store: Store) -> None:
    row = container(store, state=records.RUNNING, monitor_pid=7, monitor_start=7, boot_id=ELSEWHERE)
    with pytest.raises(ConflictError, match="on another machine"):
        recover.need_here(row, "stopping")
    row.boot_id = realm()
    recover.need_here(row, "stopping")


# Monitors that have died without a word


def dead() -> dict[str, object]:
    """The columns of a row whose monitor was killed."""
    return {"monitor_pid": os.getpid(), "monitor_start": 1, "boot_id": realm()}


@pytest.mark.parametrize("state", [records.RUNNING, records.PAUSED, records.STOPPING, records.INITIALIZED])
def test_what_a_dead_monitor_has_left_running_is_ended(
    store: Store, sleeper: subprocess.Popen[bytes], state: str
) -> None:
    row = container(store, state=state, pid=sleeper.pid, pid_start=start_time(sleeper.pid) or 0, **dead())
    found = recover.refresh(store, row)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert (found.state, found.exit_code, found.pid, found.monitor_pid) == (records.EXITED, 137, 0, 0)
    assert "its monitor was killed" in found.error
    assert not Path(cleanup.run_directory(store, ID)).exists()
    deaths = [event for event in EventLog(store.root).read() if event["action"] == "died"]
    assert [event["exit"] for event in deaths] == [137]


def test_what_waits_for_its_restart_ends_as_it_had_ended(store: Store) -> None:
    row = container(store, state=records.RESTARTING, exit_code=3, **dead())
    found = recover.refresh(store, row)
    assert (found.state, found.exit_code, found.monitor_pid) == (records.EXITED, 3, 0)


@pytest.mark.parametrize("columns", [{"state": records.RUNNING, "auto_remove": 1}, {"state": records.REMOVING}])
def test_what_a_dead_process_was_to_remove_goes(store: Store, columns: dict[str, object]) -> None:
    row = container(store, **columns, **dead())
    with pytest.raises(NotFoundError):
        recover.refresh(store, row)
    assert records.get(store.db, ID) is None


@pytest.mark.parametrize("where", [ELSEWHERE, f"{boot_id()}/1/1"], ids=["machine", "namespace"])
def test_one_of_another_realm_lives_as_long_as_somebody_holds_it(store: Store, where: str) -> None:
    row = container(store, state=records.RUNNING, monitor_pid=7, monitor_start=7, boot_id=where)
    assert recover.refresh(store, row).state == (records.EXITED if where == ELSEWHERE else records.RUNNING), "no files"
    records.update(store.db, ID, state=records.RUNNING, monitor_pid=7, monitor_start=7, error="")
    os.makedirs(store.layout.container(ID))
    Path(store.layout.container(ID), "config.json").write_text("{}")
    held = hold(store.layout.container(ID))
    assert recover.find(store, "c").state == records.RUNNING
    os.close(held)
    why = "the machine was restarted" if where == ELSEWHERE else "its monitor was killed"
    assert recover.find(store, "c").error == f"the container was ended: {why}"


def test_one_that_cannot_be_mended_holds_up_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    container(store, state=records.RUNNING, **dead())

    def refuse(store: Store, container: Container, changes: object) -> bool:
        raise PermissionError(13, "not now")

    monkeypatch.setattr(cleanup, "record_end", refuse)
    told: list[str] = []
    assert [one.id for one in recover.refresh_all(store, told.append)] == [ID]
    assert len(told) == 1
    assert "cleaning up after c" in told[0]


# The end of a pause between two lives


def test_who_ends_a_pause_takes_the_row_and_tells_whoever_waits(store: Store, sleeper: subprocess.Popen[bytes]) -> None:
    row = container(store, state=records.RESTARTING, exit_code=3, restart="always", **monitored_by(sleeper.pid))
    assert end(store, row)
    assert sleeper.wait(10) == -signal.SIGTERM
    found = records.find(store.db, "c")
    assert (found.state, found.exit_code, found.stopped, found.monitor_pid) == (records.EXITED, 3, 1, 0)


def test_who_is_late_to_end_a_pause_does_nothing(store: Store, sleeper: subprocess.Popen[bytes]) -> None:
    row = container(store, state=records.RESTARTING, restart="always", **monitored_by(sleeper.pid))
    records.update(store.db, ID, state=records.EXITED)  # its monitor starts it
    assert not end(store, row)
    found = records.find(store.db, "c")
    assert (found.stopped, found.monitor_pid) == (0, sleeper.pid)
    assert sleeper.poll() is None


def test_one_that_was_to_be_removed_at_its_end_is_removed(store: Store, sleeper: subprocess.Popen[bytes]) -> None:
    row = container(store, state=records.RESTARTING, restart="on-failure", auto_remove=1, **monitored_by(sleeper.pid))
    assert end(store, row)
    assert records.get(store.db, ID) is None


def test_kill_waits_for_a_start_that_its_policy_makes_in_this_moment(
    store: Store, sleeper: subprocess.Popen[bytes]
) -> None:
    container(store, state=records.EXITED, restart="always", **monitored_by(os.getpid()))

    def start() -> None:
        other = Store(store.root, store.runroot, None)
        pid, begun = sleeper.pid, start_time(sleeper.pid) or 0
        records.update(other.db, ID, state=records.RUNNING, pid=pid, pid_start=begun, started=1.0)

    later = threading.Timer(0.2, start)
    later.start()
    kill(store, "c", "TERM")
    later.join()
    assert sleeper.wait(10) == -signal.SIGTERM
    assert records.find(store.db, "c").stopped == 1


def test_a_clone_has_the_limits_that_were_given_and_keeps_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"cpu_quota": 20000, "cpu_period": 50000, "memory": "64m", "pids_limit": 20}
    container(store, request=dumps({"image": "i", "rootfs": True, **limits}))
    made: list[CreateRequest] = []

    def create(_store: Store, request: CreateRequest) -> str:
        made.append(request)
        return "new"

    monkeypatch.setattr("rootless.engine.clone.create", create)
    changed = {"cpus": "1.5", "memory": "128m"}
    assert clone(store, "c", None, None, [], lambda: nullcontext(Progress()), limits=changed).id == "new"
    plain = made[0].to_plain()
    assert {name: plain.get(name) for name in (*limits, "cpus")} == {
        "cpu_quota": None, "cpu_period": None, "memory": "128m", "pids_limit": 20, "cpus": "1.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "stopped", "killed", "started"),
    [
        ({"state": records.EXITED, "restart": "always"}, True, True, True),
        ({"state": records.EXITED, "restart": ""}, False, False, True),
        ({"state": records.RESTARTING, "restart": "always"}, True, True, True),
        ({"state": records.RUNNING}, True, True, False),
        ({"state": records.PAUSED}, False, True, False),
        ({"state": records.INITIALIZED}, True, False, True),
    ],
)
def test_whom_all_means(store: Store, columns: dict[str, object], stopped: bool, killed: bool, started: bool) -> None:
    row = container(store, **columns, **monitored_by(os.getpid()))
    assert [_suits(row, verb) for verb in ("stop", "kill", "start")] == [stopped, killed, started]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"containers": ["c"], "latest": True},
        {"containers": ["c"], "all": True},
        {"containers": ["c"], "filter": ["name=c"]},
        {"latest": True, "all": True},
        {"latest": True, "filter": ["name=c"]},
    ],
    ids=lambda options: "-".join(options) or "nothing",
)
def test_ways_to_name_containers_exclude_each_other(store: Store, options: dict[str, Any]) -> None:
    container(store)
    given: Any = SimpleNamespace(**{"containers": [], "latest": False, "all": False, "filter": [], **options})
    with pytest.raises(UsageError, match="stop: "):
        references(store, given, "stop")


# Who is stopping it


def test_it_is_stopping_as_long_as_one_of_several_is_at_it(store: Store) -> None:
    row = container(store, state=records.STOPPING, **monitored_by(os.getpid()))
    claims = [stopping.claim(store, ID) for _ in range(2)]
    assert min(claims) >= 0
    for claim in claims:
        assert recover.refresh(store, row).state == records.STOPPING
        os.close(claim)
    assert recover.refresh(store, row).state == records.RUNNING
    assert records.find(store.db, "c").state == records.RUNNING


def test_mending_is_up_to_whoever_comes_first(store: Store) -> None:
    row = container(store, state=records.STOPPING, **monitored_by(os.getpid()))
    os.close(stopping.claim(store, ID))
    records.update(store.db, ID, state=records.EXITED, monitor_pid=0)
    assert not stopping.mend(store, row)
    assert records.find(store.db, "c").state == records.EXITED


def test_nothing_is_locked_behind_a_link(store: Store, tmp_path: Path) -> None:
    container(store, state=records.STOPPING)
    (Path(cleanup.run_directory(store, ID)) / "stopping").symlink_to(tmp_path / "elsewhere")
    assert stopping.claim(store, ID) == -1
    assert not (tmp_path / "elsewhere").exists()


# Commands at work


def test_a_command_is_listed_from_its_start_to_its_end(store: Store) -> None:
    row = container(store)
    directory = Path(cleanup.run_directory(store, ID))
    first, second = Session(store, row, {"Words": ["a"]}), Session(store, row, {})
    os.utime(second.path, (1, 1))
    assert sessions(store, ID) == [second.identity, first.identity], "by age"
    assert sorted(os.listdir(directory)) == sorted(f"exec-{one.identity}" for one in (first, second))
    assert len(first.identity) == 64
    noted = loads(Path(first.path).read_text())
    assert (noted["Words"], type(noted["Created"])) == (["a"], float)
    second.forget()
    assert sessions(store, ID) == [first.identity]
    os.close(first.held)  # as where it was killed
    assert (sessions(store, ID), os.listdir(directory)) == ([], [])


def test_a_command_runs_also_where_that_cannot_be_noted(store: Store) -> None:
    row = container(store)
    cleanup.remove_run_directory(store, ID)
    session = Session(store, row, {})
    assert (session.path, sessions(store, ID)) == ("", [])
    session.forget()
