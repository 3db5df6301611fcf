"""Files that commands write: they appear when they are whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from rootless.errors import StorageError
from rootless.kernel.fifos import open_to_write


@contextmanager
def written(path: str) -> Iterator[int]:
    """A descriptor to write to. A regular file takes the place of what was at `path` at the end of the block, and is
    none where that fails; a device or a pipe is written to as it is. Raises StorageError where it cannot be made."""
    path = os.path.realpath(path)
    try:
        special = not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        special = False
    draft = path if special else draft_of(path)
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL
    try:
        descriptor = open_to_write(draft) if special else os.open(draft, flags, 0o644)
    except OSError as error:
        raise StorageError(f"writing {path}: {error.strerror}") from None
    try:
        yield descriptor
        if not special:
            os.rename(draft, path)
    except BaseException:
        if not special:
            os.unlink(draft)
        raise
    finally:
        os.close(descriptor)


def draft_of(path: str) -> str:
    """A name beside `path` for what is not whole yet."""
    return f"{path}.{os.urandom(4).hex()}.partial"
