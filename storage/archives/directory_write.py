"""Writing an image as a directory of files (oci-dir, docker-dir), with the methods of `ArchiveWriter`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from rootless.errors import StorageError
from rootless.kernel.files import reflink
from storage.archives.part_writers import AT_ONCE, PartWriters, Started
from storage.progress import Progress


class DirectoryWriter:
    """Members become files below the directory `root`, which exists; those that are there already with their length
    stay as they are.

    A file appears under its name when it is whole. As a context manager it removes what is not when something failed.
    """

    def __init__(self, root: str, progress: Progress) -> None:
        self._root = root
        self._parts = PartWriters(AT_ONCE, progress)
        self._drafts: dict[str, str] = {}

    def __enter__(self) -> DirectoryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._parts.finish()
            else:
                self._parts.abort()
        finally:
            for draft in self._drafts.values():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(draft)
            self._drafts.clear()

    def _has(self, name: str, size: int) -> bool:
        """Whether the file is there, or about to be; one of another length is written anew."""
        if name in self._drafts:
            return True
        try:
            return os.lstat(f"{self._root}/{name}").st_size == size
        except FileNotFoundError:
            return False

    def add_directory(self, name: str) -> None:
        os.makedirs(f"{self._root}/{name}", exist_ok=True)

    def add_bytes(self, name: str, data: bytes) -> None:
        if not self._has(name, len(data)):
            self.replace(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """As `add_bytes`, in the place of what is there."""
        with open(self._draft(name), "xb") as file:
            file.write(data)
        self._appear(name)

    def add_file(self, name: str, path: str) -> None:
        """A copy of the regular file at `path`; the same blocks where the file system shares them."""
        size = os.stat(path).st_size
        if self._has(name, size):
            return
        with open(path, "rb") as source, open(self._draft(name), "xb") as target:
            position = 0 if not reflink(target.fileno(), source.fileno()) else size
            while position < size:
                sent = os.sendfile(target.fileno(), source.fileno(), position, size - position)
                if not sent:
                    raise StorageError(f"reading {path}: it has become shorter")
                position += sent
        self._appear(name)
        self._parts.done(name, size)

    def add_written(self, name: str, size: int, start: Callable[[int, int | None], Started]) -> None:
        """A member whose `size` bytes somebody else writes: `start(descriptor, offset)` begins that, the result's
        `finish` waits for it."""
        if not self._has(name, size):
            self._parts.add(name, size, lambda: _Part(self, name, start))

    def finish_parts(self) -> None:
        """Wait until all layers are written."""
        self._parts.finish()

    def _draft(self, name: str) -> str:
        """Where the file `name` is written first."""
        directory, _, base = name.rpartition("/")
        self._drafts[name] = f"{self._root}/{directory}/.{base[:16]}.{os.urandom(4).hex()}.partial"
        return self._drafts[name]

    def _appear(self, name: str) -> None:
        os.rename(self._drafts[name], f"{self._root}/{name}")
        del self._drafts[name]


class _Part:
    """A file that a child writes."""

    def __init__(self, writer: DirectoryWriter, name: str, start: Callable[[int, int | None], Started]) -> None:
        self._writer = writer
        self._name = name
        descriptor = os.open(writer._draft(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            self._started = start(descriptor, 0)
        finally:
            os.close(descriptor)

    def finish(self) -> int:
        written = self._started.finish()
        self._writer._appear(self._name)
        return written

    def abort(self) -> None:
        self._started.abort()
