"""Room that is kept for the bad day: on a full disk, `rm` and `rmi` must still be able to record what they free.

A file of <root>/reserve holds the blocks. It is let go where a change of the database would not fit otherwise, and made
again, by whoever opens the database next, once there is plenty of room.
"""

from __future__ import annotations

import os

SIZE = 1 << 20
_PLENTY = 64 << 20


def keep(path: str) -> None:
    """Make the reserve of the database at `path` where the disk has room to spare; what fails is left."""
    directory = os.path.dirname(path)
    try:
        if _free(directory) < _PLENTY:
            return
        descriptor = os.open(directory + "/reserve", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
        finally:
            os.close(descriptor)
    except OSError:
        pass


def release(path: str) -> bool:
    """Let go of the reserve of the database at `path`; whether there was any."""
    reserve = os.path.dirname(path) + "/reserve"
    try:
        if os.stat(reserve).st_size == 0:
            return False
        os.truncate(reserve, 0)
        return True
    except OSError:
        return False


def _free(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
