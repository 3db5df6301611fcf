"""What follows of a health check: status, streak, action, log and the time of the next one. No container runs here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rootless.engine import records
from rootless.engine.health import results
from rootless.engine.health.plan import SECOND, changed
from rootless.engine.health.results import HEALTHY, STARTING, UNHEALTHY, Result, Verdict
from rootless.engine.records import Container
from storage.store import Store

ID = "a" * 64
LATE = 1000.0


class Checked:
    """A row that runs, and its checks."""

    def __init__(self, place: Path, **plan: Any) -> None:
        self.store = Store(str(place / "root"), str(place / "run"), None)
        self.plan = {**changed(None, {"health_cmd": "true", "health_on_failure": "kill"}, ["sh", "-c"]), **plan}
        values = {
            "id": ID, "name": "c", "image_id": "i", "image_name": "i", "created": 1.0, "request": "{}", "command": "",
            "state": records.RUNNING, "ports": "[]", "labels": "{}", "driver": "vfs", "network": "{}",
            "pid": 7, "pid_start": 8,
        }  # fmt: skip
        records.insert(self.store.db, values, [], {})
        self.begin()

    @property
    def row(self) -> Container:
        return records.find(self.store.db, "c")

    def begin(self) -> None:
        records.update(self.store.db, ID, **results.begin(self.store.db, ID, self.plan))

    def startup(self) -> bool:
        return results.at_startup(self.store.db, self.row, self.plan)

    def note(self, code: int, age: float = LATE, row: Container | None = None) -> Verdict | None:
        result = Result(1.0, 2.0, code, f"ended with {code}")
        return results.note(self.store, row or self.row, self.plan, result, self.startup(), age)

    def told(self, *codes: int, age: float = LATE) -> list[tuple[str, int, str]]:
        """Status, streak and action after each."""
        verdicts = [self.note(code, age) for code in codes]
        assert all(verdicts)
        return [(one.status, one.streak, one.action) for one in verdicts if one is not None]

    def shown(self) -> dict[str, Any]:
        return results.shown(self.store, self.row, self.plan)


def test_so_many_failures_in_a_row_make_it_unhealthy(tmp_path: Path) -> None:
    checked = Checked(tmp_path)
    assert checked.row.health == STARTING
    assert checked.told(1, 0, 1, 1) == [
        (STARTING, 1, "none"),
        (HEALTHY, 0, "none"),
        (HEALTHY, 1, "none"),
        (HEALTHY, 2, "none"),
    ]
    assert checked.told(1, 1, 0) == [(UNHEALTHY, 3, "kill"), (UNHEALTHY, 4, "kill"), (HEALTHY, 0, "none")]
    assert checked.shown()["FailingStreak"] == 0


def test_failures_of_the_start_period_do_not_count_until_it_has_been_healthy(tmp_path: Path) -> None:
    checked = Checked(tmp_path, StartPeriod=10 * SECOND)
    assert checked.told(1, 1, 1, 1, age=9.9) == [(STARTING, 0, "none")] * 4
    assert checked.told(1, age=10) == [(STARTING, 1, "none")]
    assert checked.told(0, 1, age=5) == [(HEALTHY, 0, "none"), (HEALTHY, 1, "none")]


def test_the_log_keeps_the_last_ones(tmp_path: Path) -> None:
    checked = Checked(tmp_path, MaxLogCount=2)
    checked.told(1, 2, 3)
    assert [entry["ExitCode"] for entry in checked.shown()["Log"]] == [2, 3]
    checked.plan["MaxLogCount"] = 0
    checked.told(4, 5)
    assert [entry["ExitCode"] for entry in checked.shown()["Log"]] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "columns", [{"pid": 9}, {"pid_start": 9}, {"state": records.PAUSED}, {"state": records.STOPPING}]
)
def test_a_check_of_another_life_or_of_one_that_stands_still_counts_for_nothing(
    tmp_path: Path, columns: dict[str, Any]
) -> None:
    checked = Checked(tmp_path)
    seen = checked.row
    records.update(checked.store.db, ID, **columns)
    assert checked.note(0, row=seen) is None
    assert (checked.row.health, checked.shown()["Log"]) == (STARTING, [])


def test_a_check_that_an_update_has_taken_away_meanwhile_counts_for_nothing(tmp_path: Path) -> None:
    checked = Checked(tmp_path)
    seen = checked.row
    records.update(checked.store.db, ID, health="")
    assert checked.note(1, row=seen) is None
    assert checked.row.health == ""


def test_each_start_begins_anew(tmp_path: Path) -> None:
    checked = Checked(tmp_path)
    checked.told(1, 1)
    checked.begin()
    assert checked.told(1, 1, 1) == [(STARTING, 1, "none"), (STARTING, 2, "none"), (UNHEALTHY, 3, "kill")]


def test_a_check_at_startup_comes_first_and_has_to_succeed_so_often(tmp_path: Path) -> None:
    startup = {"Test": ["CMD", "x"], "Interval": 7 * SECOND, "Timeout": SECOND, "Retries": 2, "Successes": 2}
    checked = Checked(tmp_path, Startup=startup)
    assert checked.told(0, 1) == [(STARTING, 0, "none")] * 2
    assert checked.startup()
    assert checked.told(1) == [(STARTING, 0, "restart")]
    checked.begin()
    first, second = checked.note(0), checked.note(0)
    assert first is not None
    assert second is not None
    assert (first.delay, second.delay) == (7.0, 0.0)
    assert not checked.startup()
    assert checked.told(0) == [(HEALTHY, 0, "none")]
    checked.begin()
    assert checked.startup()


@pytest.mark.parametrize(
    ("interval", "start_interval", "status", "age", "expected"),
    [(30, 5, STARTING, 9, 5.0), (3, 5, STARTING, 9, 3.0), (30, 5, STARTING, 10, 30.0), (30, 5, HEALTHY, 9, 30.0),
     (0, 5, HEALTHY, 20, None)],
)  # fmt: skip
def test_when_the_next_one_comes(
    tmp_path: Path, interval: int, start_interval: int, status: str, age: float, expected: float | None
) -> None:
    plan = {
        "Interval": interval * SECOND,
        "StartInterval": start_interval * SECOND,
        "StartPeriod": 10 * SECOND,
    }
    assert results.delay(plan, status, age, False, True) == expected


def test_a_log_in_a_directory_that_has_gone_costs_nothing_but_the_log(tmp_path: Path) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    checked = Checked(tmp_path, LogDestination=str(place))
    checked.told(1)
    assert os.listdir(place) == [f"{ID}-healthcheck.log"]
    assert [entry["Output"] for entry in checked.shown()["Log"]] == ["ended with 1"]
    (place / f"{ID}-healthcheck.log").unlink()
    place.rmdir()
    assert checked.told(1) == [(STARTING, 2, "none")]
    assert checked.shown() == {"Status": STARTING, "FailingStreak": 2, "Log": []}
