"""Writing an image as a directory of files (oci-dir, docker-dir), with the methods of `ArchiveWriter`."""

from __future__ import annotations

import os
from collections.abc import Callable

from rootless.errors import StorageError
from rootless.kernel.files import reflink
from storage.progress import Progress


class DirectoryWriter:
    """Members become files below the directory `root`, which exists and is empty; each name once."""

    def __init__(self, root: str, progress: Progress) -> None:
        self._root = root
        self._progress = progress

    def has(self, name: str) -> bool:
        return os.path.lexists(f"{self._root}/{name}")

    def add_directory(self, name: str) -> None:
        os.mkdir(f"{self._root}/{name}")

    def add_bytes(self, name: str, data: bytes) -> None:
        if not self.has(name):
            with open(f"{self._root}/{name}", "xb") as file:
                file.write(data)

    def add_file(self, name: str, path: str) -> None:
        """A copy of the regular file at `path`; the same blocks where the file system shares them."""
        if self.has(name):
            return
        with open(path, "rb") as source, open(f"{self._root}/{name}", "xb") as target:
            size = os.fstat(source.fileno()).st_size
            position = 0 if not reflink(target.fileno(), source.fileno()) else size
            while position < size:
                sent = os.sendfile(target.fileno(), source.fileno(), position, size - position)
                if not sent:
                    raise StorageError(f"reading {path}: it has become shorter")
                position += sent
        self._layer_done(name, size)

    def add_written(self, name: str, size: int, write: Callable[[int], int]) -> None:
        """A member whose `size` bytes `write(descriptor)` puts there; it returns how many they were."""
        if self.has(name):
            return
        with open(f"{self._root}/{name}", "xb") as file:
            written = write(file.fileno())
        if written != size:
            raise StorageError(f"writing {name}: it has {written} bytes, where {size} were expected")
        self._layer_done(name, size)

    def _layer_done(self, name: str, size: int) -> None:
        digest = os.path.basename(name)
        self._progress.layer(digest, size)
        self._progress.done(digest)

    def close(self) -> None:
        """Nothing is left to write."""
