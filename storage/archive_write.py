"""Writing a tar archive of an image: one member after another, none held in memory; same content, same bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable

from rootless.errors import StorageError
from rootless.kernel.files import write_all
from storage.progress import Progress

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_COPY = 1 << 30


class ArchiveWriter:
    """Members go to the open `descriptor` (a file, a pipe) as they are added, each name once; `close` ends it."""

    def __init__(self, descriptor: int, progress: Progress) -> None:
        self._descriptor = descriptor
        self._progress = progress
        self._names: set[str] = set()

    def has(self, name: str) -> bool:
        return name in self._names

    def add_directory(self, name: str) -> None:
        """Readers that extract an archive give directories that are not in it to root."""
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        self._write(member.tobuf(tarfile.GNU_FORMAT))

    def add_bytes(self, name: str, data: bytes) -> None:
        if self._begin(name, len(data)):
            self._write(data)
            self._pad(len(data))

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
        self._layer_done(name, size)

    def add_written(self, name: str, size: int, write: Callable[[int], int]) -> None:
        """A member whose `size` bytes `write(descriptor)` puts there; it returns how many they were."""
        if not self._begin(name, size):
            return
        written = write(self._descriptor)
        if written != size:
            raise StorageError(f"writing {name}: it has {written} bytes, where {size} were expected")
        self._layer_done(name, size)

    def close(self) -> None:
        """Write the end of the archive; the descriptor stays open."""
        self._write(_END)

    def _begin(self, name: str, size: int) -> bool:
        """Write the header, unless there is such a member already."""
        if name in self._names:
            return False
        self._names.add(name)
        member = tarfile.TarInfo(name)
        member.size = size
        self._write(member.tobuf(tarfile.GNU_FORMAT))
        return True

    def _layer_done(self, name: str, size: int) -> None:
        self._pad(size)
        digest = os.path.basename(name).removesuffix(".tar")
        self._progress.layer(digest, size)
        self._progress.done(digest)

    def _pad(self, size: int) -> None:
        self._write(bytes(-size % _BLOCK))

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data)
