"""Files and directories that are written under another name and renamed into place, or deleted, within moments.

They have no lock, unlike all else in tmp/ (`locked_directory`): an old one was left by a process that was killed.
"""

from __future__ import annotations

import fcntl
import os
import time

from rootless.errors import StorageError
from storage.layout import Layout

_PATIENCE = 3600.0  # seconds


def locked_directory(layout: Layout, prefix: str) -> tuple[str, int]:
    """A new directory in tmp/ for what takes longer, and the descriptor that locks it until it is renamed into place.

    `LayerStore.sweep` deletes those of the prefixes that it knows once nobody holds the lock. Raises StorageError.
    """
    while True:
        place = f"{layout.tmp}/{prefix}{os.urandom(8).hex()}"
        try:
            os.mkdir(place, 0o700)
            try:
                lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:  # a sweep was faster
                continue
        except OSError as error:
            raise StorageError(f"making {place}: {error.strerror}") from None
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return place, lock
        os.close(lock)


def stale_drafts(layout: Layout) -> list[str]:
    """Paths of those that nobody has touched for an hour: new databases, probes of drivers and their result, seccomp
    filters."""
    limit = time.time() - _PATIENCE
    found = []
    for directory, beginnings in (
        (layout.root, (os.path.basename(layout.database) + ".new-",)),
        (layout.tmp, ("probe-", "driver-")),
        (f"{layout.root}/seccomp", ("new-",)),
    ):
        try:
            names = [name for name in os.listdir(directory) if name.startswith(beginnings)]
        except FileNotFoundError:
            continue
        for name in names:
            try:
                if os.lstat(f"{directory}/{name}").st_mtime < limit:
                    found.append(f"{directory}/{name}")
            except FileNotFoundError:
                continue
    return found
