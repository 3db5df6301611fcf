"""Leases: what a running pull, load or import is about to refer to is not collected as garbage.

A lease is a file in <root>/leases that its process holds locked: when the process dies, so does the lease. The digests
that it protects are rows. The order makes it safe: protect, then look whether the layer is there. The collector looks
for leases and moves layers away within one write transaction, so it either sees the lease or has finished before.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from types import TracebackType

from rootless.errors import StorageError
from storage.database import transaction
from storage.sqlite import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.store import Store


class Lease:
    """`with Lease(store) as lease: lease.protect(diff_ids); ...; add_image(...)`.

    While any lease is held, layers and blobs that no image has referred to yet are left alone; `protect` also keeps
    those that one did. The methods belong to the thread that opened the store's database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._protects = self._bequeathed = False
        self.token, self._descriptor = _locked_file(_directory(store))

    def protect(self, digests: Iterable[str]) -> None:
        """Keep these layers and blobs (hex digests) until the lease ends. Call before asking whether they exist."""
        with transaction(self._store.db) as connection:
            connection.executemany("INSERT OR IGNORE INTO leases VALUES (?, ?)", [(self.token, hex) for hex in digests])
        self._protects = True

    def release(self) -> None:
        if self._descriptor < 0:
            return
        try:
            if self._protects:
                self._store.db.execute("DELETE FROM leases WHERE token = ?", (self.token,))
        finally:
            os.unlink(f"{_directory(self._store)}/{self.token}")
            os.close(self._descriptor)
            self._descriptor = -1

    def bequeath(self) -> None:
        """Let children that are started from now on, and outlive us, hold the lease instead of us."""
        os.set_inheritable(self._descriptor, True)
        self._bequeathed = True

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bequeathed and kind is None:
            os.close(self._descriptor)
        else:
            self.release()


def _directory(store: Store) -> str:
    return store.layout.root + "/leases"


def _locked_file(directory: str) -> tuple[str, int]:
    while True:
        token = os.urandom(8).hex()
        path = f"{directory}/{token}"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            os.makedirs(directory, 0o700, exist_ok=True)
            continue
        except OSError as error:
            raise StorageError(f"making {path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return token, descriptor
        except BlockingIOError:
            pass
        os.close(descriptor)  # a collector took it for a dead one between the two calls


def live_leases(store: Store, connection: Connection) -> set[str]:
    """Tokens of the leases whose process lives; dead ones are removed. To be called within a write transaction.

    Those that live as long as a mount (`storage.mounted_lease`) stay too; nobody is adding anything for them."""
    directory = _directory(store)
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        names = []
    live, mounted = set(), set()
    for name in names:
        path = f"{directory}/{name}"
        if os.path.isdir(path):
            from storage.mounted_lease import remove_unmounted

            if not remove_unmounted(store, path):
                mounted.add(name)
        elif not _remove_dead(path):
            live.add(name)
    for (token,) in connection.execute("SELECT DISTINCT token FROM leases").fetchall():
        if token not in live and token not in mounted:
            connection.execute("DELETE FROM leases WHERE token = ?", (token,))
    return live


def _remove_dead(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    finally:
        os.close(descriptor)
    return True
