"""Reading an image archive (or directory) at random: names to byte ranges of open files.

An archive that is compressed, or comes through a pipe, is first written plain to an unnamed file in the store's tmp/.
Names are only ever looked up in the archive's own table, so `../../file` is nothing but a name that is not there.
"""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from rootless.errors import ImageError, NotFoundError
from rootless.kernel.fifos import open_to_read
from storage.compress import CHUNK, MAGIC_BYTES, NONE, decompress, detect

_MOST_MEMBERS = 50_000  # an image of 1,000 layers has 4,000 at most
_LARGEST_HEADER = 1 << 20
_ALL_HEADERS = 128 << 20
_LINKS = 8  # links to links: docker's old archives have one


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes from `offset` of the open `descriptor`, which belongs to the source."""

    descriptor: int
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        """The whole content. Raises ImageError where it is more than `limit` bytes, or the archive ends before."""
        if self.size > limit:
            raise ImageError(f"reading the archive: {self.size} bytes, where {limit} are the most that is sensible")
        data = os.pread(self.descriptor, self.size, self.offset)
        if len(data) != self.size:
            raise ImageError("reading the archive: it ends in the middle of a file")
        return data


class _Headers:
    """An archive as `tarfile` reads it, which takes headers of any size into memory: those that none has are refused.

    All that it reads are headers; contents it passes over.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _ALL_HEADERS

    def read(self, size: int) -> bytes:
        if size > _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError("headers without end")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


class ArchiveSource:
    """A tar archive at `path` ("-" reads `stdin`); `scratch` is a directory for a plain copy where one is needed."""

    def __init__(self, path: str, scratch: str, stdin: int = 0) -> None:
        self.what = "standard input" if path == "-" else path
        self._file = self._open(path, scratch, stdin)
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            with tarfile.open(fileobj=cast(IO[bytes], _Headers(self._file)), mode="r:") as archive:
                for member in archive:
                    self._members[_plain(member.name)] = member
                    if len(self._members) > _MOST_MEMBERS:
                        raise tarfile.TarError(f"more than {_MOST_MEMBERS} files, as no image archive has")
        except (tarfile.TarError, OSError, ValueError) as error:
            self.close()
            raise ImageError(
                f"reading {self.what}: not an image archive, or a damaged one ({error})",
                "for the tarball of a root file system: rootless import",
            ) from None
        if not self._members:
            self.close()
            raise ImageError(f"reading {self.what}: an empty archive")

    def _open(self, path: str, scratch: str, stdin: int) -> IO[bytes]:
        if path == "-":
            if os.isatty(stdin):
                raise ImageError("reading standard input: it is a terminal", "name an archive: --input FILE, or < FILE")
            file: IO[bytes] = os.fdopen(os.dup(stdin), "rb", buffering=0)
        else:
            file = _open_file(path)
        try:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                head = os.pread(file.fileno(), MAGIC_BYTES, 0)
                if detect(head) == NONE:
                    file.seek(0)
                    return file
            with file:
                return self._plain_copy(file, scratch)
        except BaseException:
            file.close()
            raise

    def _plain_copy(self, file: IO[bytes], scratch: str) -> IO[bytes]:
        copy: IO[bytes] = tempfile.TemporaryFile(dir=scratch, buffering=0)  # noqa: SIM115  `close` closes it
        try:
            for data in decompress(lambda: file.read(CHUNK)):
                view = memoryview(data)
                while view:
                    view = view[copy.write(view) :]
            copy.seek(0)
        except OSError as error:
            copy.close()
            raise ImageError(f"reading {self.what}: {error.strerror or error}", "is the store's disk full?") from None
        except ImageError as error:
            copy.close()
            raise ImageError(f"reading {self.what}: {error.message}", error.hint) from None
        except BaseException:
            copy.close()
            raise
        return copy

    def find(self, name: str) -> Piece | None:
        """The file `name` of the archive; links inside the archive are followed. None where there is none."""
        key = _plain(name)
        for _ in range(_LINKS):
            member = self._members.get(key)
            if member is None:
                return None
            if member.isreg() and not member.issparse():
                return Piece(self._file.fileno(), member.offset_data, member.size)
            if member.issym():
                key = _plain(os.path.join(os.path.dirname(key), member.linkname))
            elif member.islnk():
                key = _plain(member.linkname)
            else:
                return None
        return None

    def close(self) -> None:
        self._file.close()


class DirectorySource:
    """The same for a directory (oci, docker-dir): only regular files below it, no link is followed."""

    def __init__(self, path: str) -> None:
        self.what = path
        self._root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open_files: dict[str, Piece] = {}

    def find(self, name: str) -> Piece | None:
        key = _plain(name)
        if key not in self._open_files:
            try:
                descriptor = self._descend(key)
            except OSError:
                return None
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                os.close(descriptor)
                return None
            self._open_files[key] = Piece(descriptor, 0, found.st_size)
        return self._open_files[key]

    def _descend(self, key: str) -> int:
        from rootless.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        return openat2(self._root, key, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)

    def close(self) -> None:
        for piece in self._open_files.values():
            os.close(piece.descriptor)
        os.close(self._root)


Source = ArchiveSource | DirectorySource


def open_source(path: str, scratch: str) -> Source:
    """The archive or directory at `path`, or standard input where it is "-". Raises NotFoundError, ImageError."""
    if path != "-" and Path(path).is_dir():
        return DirectorySource(path)
    return ArchiveSource(path, scratch)


def _open_file(path: str) -> IO[bytes]:
    try:
        return open(path, "rb", buffering=0, opener=open_to_read)
    except FileNotFoundError:
        raise NotFoundError(f"reading {path}: no such file") from None
    except OSError as error:
        raise ImageError(f"reading {path}: {error.strerror}") from None


def _plain(name: str) -> str:
    return os.path.normpath(name).lstrip("/")
