"""SQLite without the import cost of the `sqlite3` package (6 ms; this takes 1 ms).

`_sqlite3` is the C half of that package. All that it takes from Python is `functools.lru_cache` for its statement
cache, so it gets that from a stand-in where `functools` is not loaded anyway.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _sqlite3
    from typing import Any
else:
    if "functools" in sys.modules:
        import _sqlite3
    else:
        from _functools import _lru_cache_wrapper

        _stand_in = type(sys)("functools")
        _stand_in.lru_cache = lambda size: lambda function: _lru_cache_wrapper(function, size, False, tuple)
        sys.modules["functools"] = _stand_in
        try:
            import _sqlite3
        finally:
            del sys.modules["functools"]

Error = _sqlite3.Error
IntegrityError = _sqlite3.IntegrityError
Cursor = _sqlite3.Cursor

BUSY_SECONDS = 10.0


class Connection(_sqlite3.Connection):
    """A connection in autocommit mode whose failures are `StorageError`s that name the file and the remedy.

    `IntegrityError` passes through: it is how a name that is taken shows. Not to be used after a fork, by either side.
    """

    path = ""

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        before = self.in_transaction
        try:
            return super().execute(sql, parameters)
        except IntegrityError:
            raise
        except Error as error:
            # Where a transaction was rolled back by that, it cannot be gone on with.
            if self.in_transaction == before and _is_full(error):
                if self.make_room(begin_anew=not before):
                    return self.execute(sql, parameters)
                if not before:
                    return self._once_more(sql, parameters)
            raise explain(error, self.path) from None

    def make_room(self, begin_anew: bool) -> bool:
        """On a full disk: let go of the reserve; whether there was any. Where there is none the log is written back
        instead (`begin_anew`), so that it is begun anew in the room that it has: changes of rows then need no more.
        """
        from storage.reserve import release

        if release(self.path):
            return True
        if begin_anew:
            try:
                super().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except Error:
                pass  # the database has grown: what is done next says that the disk is full
        return False

    def _once_more(self, sql: str, parameters: Any) -> Cursor:
        try:
            return super().execute(sql, parameters)
        except IntegrityError:
            raise
        except Error as error:
            raise explain(error, self.path) from None

    def executemany(self, sql: str, parameters: Any) -> Cursor:
        try:
            return super().executemany(sql, parameters)
        except IntegrityError:
            raise
        except Error as error:
            raise explain(error, self.path) from None


def _is_full(error: Exception) -> bool:
    return (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_FULL")


def connect(path: str) -> Connection:
    """Open the database file at `path` (created empty where it is missing); others' locks are waited for 10 s."""
    try:
        connection = Connection(path, timeout=BUSY_SECONDS, isolation_level=None)
    except Error as error:
        raise explain(error, path) from None
    connection.path = path
    return connection


def explain(error: Exception, path: str) -> Exception:
    """The StorageError for an error of SQLite on the database at `path`; misuse of SQLite comes back as it is."""
    from rootless.errors import DiskFullError, StorageError

    if isinstance(error, _sqlite3.ProgrammingError | _sqlite3.InterfaceError):
        return error
    name = getattr(error, "sqlite_errorname", None) or ""
    what = f"reading the database {path}"
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StorageError(
            f"{what}: it is damaged ({error})",
            f"move {path} away to begin with an empty store; its images have to be loaded or pulled again",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError(
            f"{what}: another process has held it for {BUSY_SECONDS:.0f} s", f"see who: fuser -v {path}"
        )
    if name.startswith("SQLITE_FULL"):
        return DiskFullError(f"writing the database {path}: the disk is full", "free some space on that file system")
    if name.startswith("SQLITE_READONLY"):
        return StorageError(f"writing the database {path}: {error}", _who_forbids_writing(path))
    if name.startswith(("SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_AUTH")):
        return StorageError(f"{what}: {error}", _who_forbids_writing(path))
    if name.startswith("SQLITE_IOERR"):
        return StorageError(f"{what}: {error}", "look for errors of the disk: dmesg, df")
    return StorageError(f"{what}: {error}")


def _who_forbids_writing(path: str) -> str:
    """The hint for a database that SQLite may not write: it also needs the files beside it, and their directory."""
    import os

    directory = os.path.dirname(path) or "."
    if os.path.isdir(directory) and os.statvfs(directory).f_flag & os.ST_RDONLY:
        return "its file system is mounted read-only: choose another store with --root"
    for file in (path, f"{path}-wal", f"{path}-shm", f"{path}-journal"):
        if os.path.exists(file) and not os.access(file, os.R_OK | os.W_OK):
            return f"this file must be writable: chmod u+rw {file}"
    return f"its directory must be writable: ls -ld {directory}"
