"""The database file: creating, refusing, transactions, and what it costs."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

import storage.database
import storage.sqlite
from rootless.errors import StorageError
from storage.database import LOG_LIMIT, VERSION, on_network_file_system, open_database, transaction
from storage.schema import migrate
from storage.sqlite import IntegrityError, connect
from storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "db.sqlite")


def test_a_new_database_has_all_tables_and_a_write_ahead_log(path: str) -> None:
    db = open_database(path)
    assert db.execute("PRAGMA user_version").fetchone()[0] == VERSION
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"images", "image_names", "layers", "containers", "container_layers", "volumes", "settings"} <= tables
    assert os.stat(path).st_mode & 0o777 == 0o600


def _open_and_write(path: str, number: int) -> None:
    with transaction(open_database(path)) as db:
        db.execute("INSERT INTO settings VALUES (?, '')", (f"key {number}",))


def test_processes_that_create_it_at_once_share_one_database(path: str) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_open_and_write, args=(path, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert open_database(path).execute("SELECT count(*) FROM settings").fetchone()[0] == 8
    assert [name for name in os.listdir(os.path.dirname(path)) if "new" in name] == []


def test_garbage_is_called_damaged(path: str) -> None:
    Path(path).write_bytes(b"this is no database " * 1000)
    with pytest.raises(StorageError, match="damaged") as raised:
        open_database(path)
    assert path in str(raised.value.hint)


def test_an_empty_file_is_called_truncated(path: str) -> None:
    Path(path).touch()
    with pytest.raises(StorageError, match="truncated"):
        open_database(path)


def test_a_truncated_database_is_an_error_that_names_the_file(path: str) -> None:
    db = open_database(path)
    db.close()
    os.truncate(path, 5000)
    with pytest.raises(StorageError, match=f"{path}: it is damaged"):
        open_database(path).execute("SELECT * FROM containers, images, layers").fetchall()


def test_a_newer_version_is_refused_and_left_alone(path: str) -> None:
    db = open_database(path)
    db.execute(f"PRAGMA user_version={VERSION + 6}")
    db.close()
    with pytest.raises(StorageError, match="a newer rootless") as raised:
        open_database(path)
    assert "upgrade" in str(raised.value.hint)
    assert connect(path).execute("PRAGMA user_version").fetchone()[0] == VERSION + 6


def test_a_file_of_another_owner_is_refused() -> None:
    with pytest.raises(StorageError, match="belongs to uid 0"):
        open_database("/etc/hostname")


def test_a_directory_that_is_not_writable_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            open_database(str(tmp_path / "db.sqlite"))
    finally:
        tmp_path.chmod(0o700)


def test_an_older_version_is_migrated(path: str) -> None:
    db = connect(path)
    db.execute("CREATE TABLE unrelated (x)")
    db.close()
    assert open_database(path).execute("SELECT count(*) FROM images").fetchone() == (0,)


def test_a_database_of_the_first_version_keeps_what_is_in_it(path: str) -> None:
    db = connect(path)
    migrate(db, 1)
    db.execute("INSERT INTO image_digests VALUES ('example.org/a@sha256:1', 'id')")
    db.close()
    assert open_database(path).execute("SELECT * FROM image_digests").fetchall() == [
        ("example.org/a@sha256:1", "id", 0)
    ]


def test_a_failed_migration_changes_nothing(path: str) -> None:
    db = connect(path)
    db.execute("CREATE TABLE images (x)")
    with pytest.raises(StorageError):
        migrate(db, VERSION)
    assert db.execute("PRAGMA user_version").fetchone()[0] == 0
    assert db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 1


def test_a_block_that_raises_is_rolled_back(path: str) -> None:
    db = open_database(path)

    def fail() -> None:
        with transaction(db):
            db.execute("INSERT INTO settings VALUES ('a', '1')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert db.execute("SELECT * FROM settings").fetchall() == []
    assert not db.in_transaction


def test_a_name_that_is_taken_is_told_from_other_errors(path: str) -> None:
    db = open_database(path)
    db.execute("INSERT INTO settings VALUES ('a', '1')")
    with pytest.raises(IntegrityError), transaction(db):
        db.execute("INSERT INTO settings VALUES ('a', '2')")
    assert db.execute("SELECT value FROM settings").fetchall() == [("1",)]


def test_a_durable_transaction_is_synchronous_and_the_next_is_not(path: str) -> None:
    db = open_database(path)
    with transaction(db, durable=True):
        db.execute("INSERT INTO settings VALUES ('a', '1')")
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 1


def test_what_a_killed_process_committed_is_there_and_its_lock_is_not(path: str) -> None:
    code = (
        "import sys, os, signal; from storage.database import open_database, transaction\n"
        "db = open_database(sys.argv[1])\n"
        "with transaction(db): db.execute(\"INSERT INTO settings VALUES ('done', '')\")\n"
        "db.execute('BEGIN IMMEDIATE'); db.execute(\"INSERT INTO settings VALUES ('half', '')\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    with transaction(open_database(path)) as db:
        assert db.execute("SELECT key FROM settings").fetchall() == [("done",)]


def locks(path: str) -> int:
    """How many locks this process holds on the database and its shared memory (/proc/locks)."""
    inodes = {str(os.stat(path + ending).st_ino) for ending in ("", "-shm")}
    fields = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(line[4] == str(os.getpid()) and line[5].rpartition(":")[2] in inodes for line in fields)


def test_a_forked_child_that_forgets_gets_locks_of_its_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path), str(tmp_path))
    path = store.layout.database
    store.db.execute("INSERT INTO settings VALUES ('parent', '')")
    held = locks(path)
    assert held
    pid = os.fork()
    if not pid:
        store.forget()
        with transaction(store.db) as db:
            db.execute("INSERT INTO settings VALUES ('child', '')")
        os._exit(0 if locks(path) == held else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert locks(path) == held
    assert store.db.execute("SELECT count(*) FROM settings").fetchone() == (2,)


def test_a_log_that_has_grown_is_written_back_at_the_next_opening(path: str) -> None:
    db = open_database(path)
    db.execute("INSERT INTO settings VALUES ('large', ?)", ("x" * (2 * LOG_LIMIT),))
    assert os.stat(path + "-wal").st_size > LOG_LIMIT
    other = open_database(path)
    assert os.stat(path + "-wal").st_size < LOG_LIMIT
    assert other.execute("SELECT length(value) FROM settings").fetchone() == (2 * LOG_LIMIT,)


def test_opening_imports_no_module_that_is_slow() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "from storage.database import open_database; from storage.lookup import find_image\n"
        "from storage.images.listing import list_images\n"
        "db = open_database(sys.argv[2]); find_image(db, 'a'); list_images(db)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    place = str(Path(__file__).parents[2])
    database = str(Path("/tmp") / f"rootless-test-{os.getpid()}.sqlite")
    open_database(database).close()
    try:
        command = [sys.executable, "-I", "-S", "-c", code.replace("find_image(db, 'a')", "0"), place, database]
        loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    finally:
        for ending in ("", "-wal", "-shm"):
            Path(database + ending).unlink(missing_ok=True)
    slow = {
        "typing",
        "dataclasses",
        "enum",
        "re",
        "functools",
        "collections",
        "contextlib",
        "json",
        "sqlite3",
        "ctypes",
    }
    assert not slow & set(loaded)


def test_a_lock_that_a_living_process_holds_is_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = open_database(path)
    monkeypatch.setattr(storage.sqlite, "BUSY_SECONDS", 0.1)
    with transaction(holder):
        waiting = open_database(path)
        assert waiting.execute("SELECT count(*) FROM images").fetchone() == (0,)  # readers do not wait
        with pytest.raises(StorageError, match="another process has held it") as raised, transaction(waiting):
            pass
    assert "fuser" in str(raised.value.hint)


def test_without_shared_memory_a_rollback_journal_serves(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.database, "on_network_file_system", lambda path: True)
    db = open_database(path)
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    with transaction(db):
        db.execute("INSERT INTO settings VALUES ('a', '1')")
    assert open_database(path).execute("SELECT value FROM settings").fetchone() == ("1",)
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.startswith("db.sqlite-")]


def test_a_local_file_system_is_told_from_a_network_one(path: str) -> None:
    assert not on_network_file_system(path)
