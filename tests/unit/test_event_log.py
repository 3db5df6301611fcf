"""The log of events: whole lines of several writers, a bound, and followers who miss nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage import events
from storage.event_log import EventLog
from storage.events import emit
from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "root").mkdir()
    return Store(str(tmp_path / "root"), str(tmp_path / "run"))


def names(log: EventLog) -> list[str]:
    return [event["name"] for event in log.read()]


def test_an_event_is_read_as_it_was_written(store: Store) -> None:
    emit(
        store, "container", "died", "1" * 64, "web", image="b", labels={"a": "ü\n\udcff"}, exit=0, signal="", more=None
    )
    (event,) = EventLog(store.root).read()
    assert isinstance(event.pop("t"), int)
    assert event == {
        "type": "container",
        "action": "died",
        "id": "1" * 64,
        "name": "web",
        "image": "b",
        "exit": 0,
        "labels": {"a": "ü\n\udcff"},
    }
    assert os.stat(store.root + "/events").st_mode & 0o777 == 0o700


def test_writers_at_once_do_not_mix_their_lines(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LIMIT", 250_000)  # a rotation, with four at work, and nothing lost
    children = []
    for writer in range(4):
        pid = os.fork()
        if pid == 0:
            for number in range(500):
                emit(store, "image", "tag", str(writer), str(number), labels={"x": "y" * 100})
            os._exit(0)
        children.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
    found = EventLog(store.root).read()
    assert os.path.exists(store.root + "/events/log.1")
    for writer in range(4):
        assert [event["name"] for event in found if event["id"] == str(writer)] == [str(n) for n in range(500)]


def test_the_log_is_bounded_and_keeps_the_newest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LIMIT", 10_000)
    for number in range(2000):
        emit(store, "image", "tag", "", str(number))
    sizes = [os.path.getsize(f"{store.root}/events/{name}") for name in os.listdir(store.root + "/events")]
    assert len(sizes) <= 2
    assert max(sizes) < 10_200
    found = [int(name) for name in names(EventLog(store.root))]
    assert found == list(range(found[0], 2000))
    assert len(found) > 100


def test_a_follower_misses_nothing_over_rotations(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LIMIT", 10_000)
    emit(store, "image", "tag", "", "old")
    log = EventLog(store.root, only_new=True)
    seen = []
    for round in range(40):
        for number in range(60):
            emit(store, "image", "tag", "", f"{round}-{number}")
        seen += names(log)
    assert seen == [f"{round}-{number}" for round in range(40) for number in range(60)]


def test_a_line_that_is_written_late_into_the_older_file_is_read(store: Store) -> None:
    emit(store, "image", "tag", "", "first")
    log = EventLog(store.root, only_new=True)
    late = os.open(store.root + "/events/log", os.O_WRONLY | os.O_APPEND)  # as `emit` has it before it writes
    os.rename(store.root + "/events/log", store.root + "/events/log.1")
    emit(store, "image", "tag", "", "second")
    assert names(log) == ["second"]
    os.write(late, b'\n{"t":1,"type":"image","action":"tag","id":"","name":"late"}\n')
    os.close(late)
    assert names(log) == ["late"]


def test_a_rotation_happens_once(store: Store) -> None:
    emit(store, "image", "tag", "", "first")
    place = store.root + "/events"
    both = [os.open(place + "/log", os.O_RDONLY) for _ in range(2)]
    for number, fd in enumerate(both):
        events._rotate(fd, place)
        emit(store, "image", "tag", "", f"after {number}")
    assert names(EventLog(store.root)) == ["first", "after 0", "after 1"]
    for fd in both:
        os.close(fd)


def test_whoever_follows_is_woken(store: Store) -> None:
    batches = EventLog(store.root, only_new=True).follow()
    assert next(batches) == []  # there was not even a folder
    pid = os.fork()
    if pid == 0:
        emit(store, "volume", "create", "v", "v")
        os._exit(0)
    assert [event["name"] for batch in (next(batches) for _ in range(3)) for event in batch] == ["v"]
    os.waitpid(pid, 0)


def test_following_ends_at_its_time(store: Store) -> None:
    emit(store, "volume", "create", "v", "v")
    assert [len(batch) for batch in EventLog(store.root).follow(until=0.0)] == [1]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"t":1,"type":"ima',
        b"\xff\xfe\0\0",
        b"[]\n",
        b'{"t":"x"}\n',
        b"[" * 100_000,
        b"5\n",
        b'{"t":1.5,"type":"a"}\n',
    ],
)
def test_a_damaged_line_takes_no_other_with_it(store: Store, damage: bytes) -> None:
    emit(store, "image", "tag", "", "before")
    with open(store.root + "/events/log", "ab") as file:
        file.write(damage)
    emit(store, "image", "tag", "", "after")
    assert names(EventLog(store.root)) == ["before", "after"]


def test_labels_that_are_too_long_are_left_out(store: Store) -> None:
    emit(store, "container", "start", "", "c", labels={"x": "y" * 100_000})
    (event,) = EventLog(store.root).read()
    assert event["name"] == "c"
    assert "labels" not in event


def test_no_command_fails_because_of_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "root" / "events").write_text("not a folder")
    emit(store, "image", "tag", "", "x")
    emit(Store(str(tmp_path / "nowhere"), ""), "image", "tag", "", "x")
    (tmp_path / "root" / "events").unlink()
    (tmp_path / "root" / "events").mkdir()
    (tmp_path / "root" / "events" / "log").symlink_to(tmp_path / "elsewhere")
    emit(store, "image", "tag", "", "x")
    assert not (tmp_path / "elsewhere").exists()
