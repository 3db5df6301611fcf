"""Who is stopping a container holds a lock on the file `stopping` in its run directory, so a `stop` that was killed
does not leave the state `stopping` behind for ever: whoever looks next sees that nobody is at it."""

from __future__ import annotations

import os

from rootless.engine import records
from rootless.engine.cleanup import run_directory
from rootless.kernel.files import lock_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from storage.store import Store


def claim(store: Store, container_id: str) -> int:
    """Say that we are stopping it, until the descriptor is closed; -1 where that cannot be said."""
    return _locked(store, container_id, os.O_CREAT, exclusive=False)


def mend(store: Store, container: Container) -> bool:
    """The state of a container that nobody stops any more is running again; False where the row has changed meanwhile.

    That a user wanted its end (`stopped`) stays: the signal may be on its way."""
    fd = _locked(store, container.id, 0, exclusive=True)
    if fd < 0:
        return True
    try:
        return records.update_if(store.db, container, state=records.RUNNING)
    finally:
        os.close(fd)


def _locked(store: Store, container_id: str, flags: int, exclusive: bool) -> int:
    path = f"{run_directory(store, container_id)}/stopping"
    try:
        fd = os.open(path, flags | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return -1
    try:
        if lock_file(fd, exclusive=exclusive, blocking=not exclusive):
            return fd
    except OSError:  # a file system without locks
        pass
    os.close(fd)
    return -1
