"""Which containers a command means, and what becomes of each of them. Nothing runs."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rootless.cli.selection import each, one, references
from rootless.engine import records
from rootless.errors import ConflictError, NotFoundError, RootlessError, UsageError
from rootless.kernel.pidfd import myself
from storage.store import Store

SETTINGS: Any = SimpleNamespace(log_level="warn", store=lambda: SimpleNamespace(forget=lambda: None))
STATES = "created exited initialized running paused stopping restarting"
PATIENCE = 20.0  # seconds
BOTH_WAYS = pytest.mark.parametrize("at_once", [False, True], ids=["in-turn", "side-by-side"])


def options(**given: Any) -> Any:
    return SimpleNamespace(**{"containers": [], "latest": False, **given})


def add(store: Store, number: int, identity: str, name: str, **columns: object) -> None:
    values = {
        "id": identity, "name": name, "image_id": "i", "image_name": "i", "created": float(number), "request": "{}",
        "command": "", "state": records.EXITED, "ports": "[]", "labels": "{}", "driver": "vfs", "network": "{}",
        **columns,
    }  # fmt: skip
    records.insert(store.db, values, [], {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With two containers that have ended."""
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), None)
    for number, name in enumerate(("first", "second")):
        add(store, number, name[0] * 64, name)
    return store


# Which ones


def test_a_filter_leaves_some(store: Store) -> None:
    assert references(store, options(filter=["name=second"]), "rm") == ["s" * 64]
    assert references(store, options(filter=["name=second"], all=True), "rm") == ["s" * 64]
    assert references(store, options(all=True), "rm") == ["f" * 64, "s" * 64]


@pytest.mark.parametrize(
    ("verb", "given", "states"),
    [
        ("restart", {"running": True}, "running stopping restarting"),
        ("start", {"all": True}, "created exited initialized restarting"),
        ("start", {"filter": ["name=in-"]}, STATES),
        ("init", {"all": True}, "created exited"),
        ("pause", {"all": True}, "running"),
        ("unpause", {"all": True}, "paused"),
        ("stop", {"all": True}, "initialized running stopping restarting"),
        ("kill", {"all": True}, "running paused stopping restarting"),
        ("rm", {"all": True}, STATES),
    ],
)
def test_whom_a_verb_means_that_is_given_no_names(
    tmp_path: Path, verb: str, given: dict[str, Any], states: str
) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), None)
    names = {}
    pid, start, place = myself()
    for number, state in enumerate(STATES.split()):
        monitor = {"monitor_pid": pid, "monitor_start": start, "boot_id": place} if number > 1 else {}
        names[f"{number:x}" * 64] = state
        add(store, number, f"{number:x}" * 64, f"in-{state}", state=state, **monitor)
    assert [names[found] for found in references(store, options(**{"all": False, **given}), verb)] == states.split()


def test_files_with_ids_and_names_together(store: Store, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("abc")
    (tmp_path / "lines").write_text(" def \nno id\n")
    files = [str(tmp_path / "plain"), str(tmp_path / "lines")]
    assert references(store, options(containers=["c"], cidfile=files), "rm") == ["c", "abc", "def"]
    with pytest.raises(UsageError, match="No such file"):
        references(store, options(cidfile=[str(tmp_path / "none")]), "rm")


def test_the_one_that_is_meant(store: Store) -> None:
    assert one(store, options(container="first"), "logs") == "first"
    assert one(store, options(container=None, latest=True), "logs") == "s" * 64
    with pytest.raises(UsageError, match="exclude each other"):
        one(store, options(container="first", latest=True), "logs")
    with pytest.raises(UsageError, match="no container is named"):
        one(store, options(container=None), "logs")


# What becomes of each


@BOTH_WAYS
def test_a_failure_is_told_and_the_last_one_counts(capfd: pytest.CaptureFixture[str], at_once: bool) -> None:
    codes = {"b": 3, "d": 4}

    def act(name: str) -> None:
        if name in codes:
            raise RootlessError(f"{name} failed", exit_code=codes[name])

    assert each(SETTINGS, list("abcde"), act, at_once=at_once) == 4
    out, error = capfd.readouterr()
    assert out == "a\nc\ne\n"
    assert error == "Error: b failed\nError: d failed\n"
    assert each(SETTINGS, list("ac"), act, at_once=at_once, shows_names=False) == 0
    assert capfd.readouterr() == ("", "")


@BOTH_WAYS
def test_what_is_not_to_be_minded_is_passed_over(capfd: pytest.CaptureFixture[str], at_once: bool) -> None:
    def act(name: str) -> None:
        if name == "b":
            raise NotFoundError("there is no b")
        if name == "c":
            raise ConflictError("c is busy")

    assert each(SETTINGS, list("ab"), act, NotFoundError, at_once=at_once) == 0
    assert capfd.readouterr() == ("a\n", "")
    assert each(SETTINGS, list("cb"), act, NotFoundError, at_once=at_once) == 125
    assert capfd.readouterr() == ("", "Error: c is busy\n")


@pytest.mark.parametrize(("harm", "code"), [(lambda: os.kill(os.getpid(), 9), 137), (lambda: 1 / 0, 125)])
def test_one_whose_process_fails_is_a_failure(
    capfd: pytest.CaptureFixture[str], harm: Callable[[], object], code: int
) -> None:
    ours = os.getpid()

    def act(name: str) -> None:
        if name == "b" and os.getpid() != ours:
            harm()

    assert each(SETTINGS, list("abc"), act, at_once=True) == code
    assert capfd.readouterr().out == "a\nc\n"


def _waiting(pipe: int) -> int:
    """How many bytes are in a pipe."""
    found: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    return found


def test_names_come_in_their_order_whoever_is_done_first(capfd: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()

    def act(name: str) -> None:
        if name == "b":
            os.write(writer, b"b is done")
            raise RootlessError("b failed")
        if not select.select([reader], [], [], PATIENCE)[0]:
            raise RootlessError("b has not had its turn meanwhile")

    assert each(SETTINGS, list("abc"), act, at_once=True) == 125
    out, error = capfd.readouterr()
    assert (out, error) == ("a\nc\n", "Error: b failed\n")
    os.close(reader)
    os.close(writer)


def test_sixteen_are_at_work_at_once_and_no_more() -> None:
    """Each of the first sixteen stays until they are all there; the one after them finds that one has ended."""
    begun, begin = os.pipe()
    ended, end = os.pipe()

    def act(name: str) -> None:
        if int(name) >= 16:
            if not _waiting(ended):
                raise RootlessError("more than sixteen at once")
            return
        os.write(begin, b"x")
        deadline = time.monotonic() + PATIENCE
        while _waiting(begun) < 16:
            if time.monotonic() > deadline:
                raise RootlessError("fewer than sixteen at once")
            time.sleep(0.01)
        time.sleep(0.2)  # in which one too many would come
        os.write(end, b"x")

    assert each(SETTINGS, [str(number) for number in range(17)], act, at_once=True, shows_names=False) == 0
    for fd in (begun, begin, ended, end):
        os.close(fd)
