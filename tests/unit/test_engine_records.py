"""Container rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootless.engine import cleanup, records
from rootless.errors import ConflictError, NotFoundError
from storage.database import open_database
from storage.sqlite import Connection
from storage.store import Store
from storage.volumes.rows import forget_volumes, make_volume_directory


@pytest.fixture
def database(tmp_path: Path) -> Connection:
    connection = open_database(str(tmp_path / "db.sqlite"))
    connection.execute("INSERT INTO layers (diff_id, size, tar_size, created) VALUES ('layer', 1, 1, 0)")
    return connection


def insert(database: Connection, container_id: str, name: str | None) -> str:
    values = {
        "id": container_id,
        "name": name,
        "image_id": "i",
        "image_name": "i:latest",
        "created": float(int(container_id[:2], 16)),
        "request": "{}",
        "state": records.CREATED,
    }
    namer = None if name else lambda attempt: "taken" if attempt < 3 else "free"
    return records.insert(database, values, ["layer"], {"volume": (False, {}, {})}, namer)


def test_find_by_name_id_and_beginning(database: Connection) -> None:
    insert(database, "ab" * 32, "one")
    insert(database, "ac" * 32, "two")
    assert records.find(database, "one").id == "ab" * 32
    assert records.find(database, "ac" * 32).name == "two"
    assert records.find(database, "ab").name == "one"
    with pytest.raises(ConflictError):
        records.find(database, "a")
    for reference in ("", "nothing", "ff", "on"):
        with pytest.raises(NotFoundError):
            records.find(database, reference)


def test_a_name_wins_over_the_beginning_of_an_id(database: Connection) -> None:
    insert(database, "ab" * 32, "one")
    insert(database, "cd" * 32, "ab")
    assert records.find(database, "ab").id == "cd" * 32


def test_names_are_unique_and_nothing_is_half_written(database: Connection) -> None:
    insert(database, "ab" * 32, "taken")
    with pytest.raises(ConflictError, match="taken"):
        insert(database, "cd" * 32, "taken")
    assert [container.id for container in records.all_containers(database)] == ["ab" * 32]
    assert database.execute("SELECT count(*) FROM container_layers").fetchone() == (1,)
    assert insert(database, "ef" * 32, None) == "free"


def test_layers_that_are_gone_meanwhile_are_noticed(database: Connection) -> None:
    database.execute("DELETE FROM layers")
    with pytest.raises(NotFoundError, match="removed"):
        insert(database, "ab" * 32, "one")
    assert records.all_containers(database) == []


def test_update_only_what_has_not_changed_meanwhile(database: Connection) -> None:
    insert(database, "ab" * 32, "one")
    mine, others = records.find(database, "one"), records.find(database, "one")
    assert records.update_if(database, mine, state=records.RUNNING, pid=7)
    assert (mine.state, mine.pid) == (records.RUNNING, 7)
    assert not records.update_if(database, others, state=records.REMOVING)
    assert records.find(database, "one").state == records.RUNNING


@pytest.mark.parametrize("column", ["state", "pid", "pid_start", "monitor_pid", "monitor_start"])
def test_a_change_of_any_of_these_is_noticed(database: Connection, column: str) -> None:
    for name, identity in (("one", "ab" * 32), ("other", "cd" * 32)):
        insert(database, identity, name)
    late = records.find(database, "one")
    records.update(database, "ab" * 32, **{column: records.PAUSED if column == "state" else 7})
    assert not records.update_if(database, late, exit_code=3)
    assert (late.exit_code, records.find(database, "one").exit_code) == (0, 0)
    assert records.update_if(database, records.find(database, "one"), exit_code=4)
    assert [records.find(database, name).exit_code for name in ("one", "other")] == [4, 0]


def test_delete_forgets_everything(database: Connection) -> None:
    insert(database, "ab" * 32, "one")
    assert records.layers_of(database, "ab" * 32) == ["layer"]
    records.delete(database, "ab" * 32)
    assert records.get(database, "ab" * 32) is None
    for table in ("container_layers", "container_volumes"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_oldest_first_and_latest(database: Connection) -> None:
    for start in ("03", "01", "02"):
        insert(database, start * 32, "n" + start)
    assert [container.name for container in records.all_containers(database)] == ["n01", "n02", "n03"]
    assert records.latest(database).name == "n03"


def test_who_is_late_with_an_end_leaves_the_run_directory_of_whoever_has_started_it_anew(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), None)
    store.db.execute("INSERT INTO layers (diff_id, size, tar_size, created) VALUES ('layer', 1, 1, 0)")
    insert(store.db, "a" * 64, "one")
    records.update(store.db, "a" * 64, monitor_pid=5, monitor_start=6)
    seen = records.find(store.db, "aa")
    records.update(store.db, "a" * 64, monitor_pid=7, monitor_start=8)
    directory = Path(cleanup.make_run_directory(store, "a" * 64))
    assert not cleanup.record_end(store, seen, {"monitor_pid": 0, "monitor_start": 0})
    assert directory.is_dir()
    assert cleanup.record_end(store, records.find(store.db, "aa"), {"monitor_pid": 0, "monitor_start": 0})
    assert not directory.exists()


def test_a_volume_goes_with_its_last_container_in_one_step(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), None)
    store.db.execute("INSERT INTO layers (diff_id, size, tar_size, created) VALUES ('layer', 1, 1, 0)")
    for container_id in ("aa" * 32, "bb" * 32):
        insert(store.db, container_id, container_id[:3])
    directory = Path(make_volume_directory(store.layout, "volume"))
    assert forget_volumes(store, ["volume"], removed="aa" * 32) == []
    assert directory.is_dir()
    records.delete(store.db, "bb" * 32)
    assert forget_volumes(store, ["volume"], removed="aa" * 32) == ["volume"]
    assert not directory.parent.exists()
    insert(store.db, "cc" * 32, "another")  # while that removal goes on: a volume of its own
    assert forget_volumes(store, ["volume"], removed="aa" * 32) == []
