"""Writing a tar archive of an image: no member is held in memory; same content, same bytes."""

from __future__ import annotations

import fcntl
import os
import stat
import tarfile
from collections.abc import Callable

from rootless.errors import StorageError
from rootless.kernel.files import write_all
from storage.archives.part_writers import AT_ONCE, PartWriters, Started
from storage.progress import Progress

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_COPY = 1 << 30


class ArchiveWriter:
    """Members go to the open `descriptor` (a file, a pipe) as they are added, each name once.

    As a context manager it ends the archive when all went well; the descriptor stays open. In a file, layers that have
    to be rebuilt are written side by side, each at its place.
    """

    def __init__(self, descriptor: int, progress: Progress) -> None:
        self._descriptor = descriptor
        self._names: set[str] = set()
        self._seekable = _takes_writes_anywhere(descriptor)
        self._parts = PartWriters(AT_ONCE if self._seekable else 1, progress)

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self._parts.abort()
            return
        self._parts.finish()
        self._write(_END)

    def add_directory(self, name: str) -> None:
        """Readers that extract an archive give directories that are not in it to root."""
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        self._write(member.tobuf(tarfile.GNU_FORMAT))

    def add_bytes(self, name: str, data: bytes) -> None:
        if self._begin(name, len(data)):
            self._write(data)
            self._pad(len(data))

    replace = add_bytes  # in a new archive nothing is there before

    def add_file(self, name: str, path: str) -> None:
        """The content of the regular file at `path`."""
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if not self._begin(name, size):
                return
            position = 0
            while position < size:
                sent = os.sendfile(self._descriptor, file.fileno(), position, min(_COPY, size - position))
                if not sent:
                    raise StorageError(f"reading {path}: it has become shorter")
                position += sent
        self._pad(size)
        self._parts.done(name, size)

    def add_written(self, name: str, size: int, start: Callable[[int, int | None], Started]) -> None:
        """A member whose `size` bytes somebody else writes: `start(descriptor, offset)` begins that (None: where the
        descriptor stands), the result's `finish` waits for it."""
        if not self._begin(name, size):
            return
        if self._seekable:
            place = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            self._parts.add(name, size, lambda: start(self._descriptor, place))
            os.lseek(self._descriptor, size, os.SEEK_CUR)
        else:
            self._parts.add(name, size, lambda: start(self._descriptor, None))
        self._pad(size)

    def finish_parts(self) -> None:
        """Wait until all layers are written."""
        self._parts.finish()

    def _begin(self, name: str, size: int) -> bool:
        """Write the header, unless there is such a member already."""
        if name in self._names:
            return False
        if not self._seekable:
            self._parts.finish()
        self._names.add(name)
        member = tarfile.TarInfo(name)
        member.size = size
        self._write(member.tobuf(tarfile.GNU_FORMAT))
        return True

    def _pad(self, size: int) -> None:
        if not self._seekable:
            self._parts.finish()
        self._write(bytes(-size % _BLOCK))

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data)


def _takes_writes_anywhere(descriptor: int) -> bool:
    """A regular file that was not opened for appending."""
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    return regular and not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
