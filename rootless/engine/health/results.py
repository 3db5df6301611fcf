"""What the checks of a container have found: its status, how many have failed in a row, the log of the last ones."""

from __future__ import annotations

import os

from rootless.engine import records
from rootless.engine.health.plan import SECOND, is_check
from rootless.jsontext import dumps, loads
from storage.database import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.health.plan import Plan
    from rootless.engine.records import Container
    from storage.sqlite import Connection
    from storage.store import Store

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
MOST_ENTRIES = 1000  # for --health-max-log-count 0
_COLUMNS = "streak, startup, started, log"


class Result:
    """One check: `start` and `end` in Unix seconds, exit `code` (-1: it took too long), `output`."""

    __slots__ = ("code", "end", "output", "start")

    def __init__(self, start: float, end: float, code: int, output: str) -> None:
        self.start = start
        self.end = end
        self.code = code
        self.output = output

    def shown(self) -> dict[str, Any]:
        """With the names of Docker and Podman."""
        from rootless.times import rfc3339

        times = {"Start": rfc3339(self.start), "End": rfc3339(self.end)}
        return {**times, "ExitCode": self.code, "Output": self.output}


class Verdict:
    """What follows of a check. `status` as in the row; `streak`: failures in a row; `action`: none, kill, restart or
    stop; `delay`: seconds until the next one, None where there is none."""

    __slots__ = ("action", "delay", "status", "streak")

    def __init__(self, status: str, streak: int, action: str, delay: float | None) -> None:
        self.status = status
        self.streak = streak
        self.action = action
        self.delay = delay


def begin(conn: Connection, container_id: str, plan: Plan) -> dict[str, str]:
    """A container starts: what was found in its last life does not count. What its row is to say."""
    if not is_check(plan):
        return {}
    conn.execute(
        "INSERT INTO container_health (container_id, started) VALUES (?, ?) ON CONFLICT (container_id)"
        " DO UPDATE SET streak = 0, startup = 0, started = excluded.started",
        (container_id, int("Startup" not in plan)),
    )
    return {"health": STARTING}


def at_startup(conn: Connection, container: Container, plan: Plan) -> bool:
    """Whether the next check is the one that comes before the regular ones."""
    return "Startup" in plan and not _row(conn, container.id)[2]


def _row(conn: Connection, container_id: str) -> tuple[int, int, int, str]:
    found = conn.execute(f"SELECT {_COLUMNS} FROM container_health WHERE container_id = ?", (container_id,)).fetchone()
    return found or (0, 0, 0, "[]")


def note(store: Store, container: Container, plan: Plan, result: Result, startup: bool, age: float) -> Verdict | None:
    """Record a check of the container, in one transaction; None, and nothing is recorded, where that life is over, it
    is paused or being stopped, or is not to be checked any more.

    `startup`: it was the check that comes first; `age`: how many seconds the container had run when it began. Raises
    StorageError.
    """
    conn = store.db
    with transaction(conn):
        current = records.get(conn, container.id)
        if (
            current is None
            or current.state != records.RUNNING
            or not current.health
            or (current.pid, current.pid_start) != (container.pid, container.pid_start)
        ):
            return None
        streak, count, started, log = _row(conn, container.id)
        status, action = current.health, "none"
        if startup:
            count, started, action = _startup(plan["Startup"], result.code, count)
        elif result.code == 0:
            status, streak = HEALTHY, 0
        elif status != STARTING or age >= plan["StartPeriod"] / SECOND:
            streak += 1
            if streak >= plan["Retries"]:
                status, action = UNHEALTHY, plan["OnFailure"]
        elsewhere = directory_of(plan)
        entries = _read(elsewhere, container.id) if elsewhere else loads(log)
        entries.append(result.shown())
        del entries[: -(plan["MaxLogCount"] or MOST_ENTRIES)]
        conn.execute(
            f"INSERT OR REPLACE INTO container_health (container_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            (container.id, streak, count, started, "[]" if elsewhere else dumps(entries)),
        )
        if status != current.health:
            records.update(conn, container.id, health=status)
        if elsewhere:
            _write(elsewhere, container.id, {"Status": status, "FailingStreak": streak, "Log": entries})
    wait = delay(plan, status, age, startup, bool(started))
    return Verdict(status, streak, action, wait)


def _startup(check: dict[str, Any], code: int, count: int) -> tuple[int, int, str]:
    """(count, whether it has been passed, action) after a startup check that has ended with `code`."""
    if code == 0:
        count = max(count, 0) + 1
        return count, int(count >= max(1, check["Successes"])), "none"
    count = min(count, 0) - 1
    return count, 0, "restart" if check["Retries"] and -count >= check["Retries"] else "none"


def delay(plan: Plan, status: str, age: float, was_startup: bool, passed: bool) -> float | None:
    """Seconds until the next check of a container that has run for `age` seconds."""
    if was_startup and not passed:
        nanoseconds = plan["Startup"]["Interval"]
    elif was_startup and plan["Interval"]:
        return 0.0
    elif status == STARTING and age < plan["StartPeriod"] / SECOND:
        nanoseconds = min(plan["StartInterval"], plan["Interval"])
    else:
        nanoseconds = plan["Interval"]
    return nanoseconds / SECOND if nanoseconds else None


def directory_of(plan: Plan) -> str:
    """The directory of --health-log-destination; "" for the store."""
    return "" if plan["LogDestination"] in ("local", "events_logger") else str(plan["LogDestination"])


def shown(store: Store, container: Container, plan: Plan) -> dict[str, Any]:
    """The object State.Health of `inspect`."""
    streak, _, _, log = _row(store.db, container.id)
    elsewhere = directory_of(plan)
    entries = _read(elsewhere, container.id) if elsewhere else loads(log)
    return {"Status": container.health, "FailingStreak": streak, "Log": entries}


def _path(directory: str, container_id: str) -> str:
    return f"{directory}/{container_id}-healthcheck.log"


def _read(directory: str, container_id: str) -> list[dict[str, Any]]:
    """The log in a directory of the user's, who may have changed it."""
    try:
        with open(_path(directory, container_id), encoding="utf-8") as file:
            found = loads(file.read())
        return [dict(entry) for entry in found["Log"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write(directory: str, container_id: str, content: dict[str, Any]) -> None:
    """Where the directory has gone or is full the log is lost, and the check counts all the same."""
    path = _path(directory, container_id)
    draft = f"{path}.{os.getpid()}"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(dumps(content))
        os.rename(draft, path)
    except OSError:
        try:
            os.unlink(draft)
        except OSError:
            pass
