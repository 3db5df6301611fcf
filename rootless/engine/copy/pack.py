"""What `cp` reads: a file or a tree of a place, as a tar stream. Links in the tree are copied, never followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from rootless.engine.copy.place import DIRECTORY, Place, failure
from rootless.errors import NotFoundError, RootlessError, UsageError
from storage.tar import headers
from storage.tar import reader as kinds
from storage.tar.output import Output
from storage.tar.sparse import write_contents

_SMALL = 64 << 10
_CHUNK = 1 << 20
_KEPT = (b"user.", b"security.capability")
_DRIVERS = (b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.")

Ids = Callable[[int, int], tuple[int, int]]


class Packer:
    """Writes to `out`. `ids` gives the owner that is written for (uid, gid) of a file. A file that shrinks meanwhile is
    filled up with zeros, one that goes away is left out; sockets are, too."""

    def __init__(self, place: Place, out: int, doing: str, ids: Ids) -> None:
        self._place = place
        self._out = Output(out)
        self._doing = doing
        self._ids = ids
        self._links: dict[tuple[int, int], bytes] = {}
        self._kernels: frozenset[int] = frozenset()

    def pack(self, path: bytes, name: bytes) -> None:
        """Write what `path` leads to, called `name` in the archive; without a name the contents of a directory, called
        "." there. Raises NotFoundError, UsageError, RootlessError, BrokenPipeError."""
        try:
            top = self._place.open(path, os.O_PATH)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise NotFoundError(f"{self._doing}: {os.fsdecode(path)} does not exist") from None
            raise failure(self._doing, error, path) from None
        found = os.fstat(top)
        form = stat.S_IFMT(found.st_mode)
        try:
            if form == stat.S_IFDIR:
                if found.st_dev not in (kernels := self._place.kernels()):
                    self._kernels = kernels
                self._directory(os.open(".", DIRECTORY, dir_fd=top), name or b".")
            elif form == stat.S_IFREG:
                self._file(os.open(f"/proc/self/fd/{top}", os.O_RDONLY | os.O_CLOEXEC), name)
            elif form == stat.S_IFIFO:
                self._header(name, kinds.FIFO, found)
            else:
                what = "a socket" if form == stat.S_IFSOCK else "a device"
                raise UsageError(f"{self._doing}: {os.fsdecode(path)} is {what}")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise failure(self._doing, error, path if error.filename is None else None) from None
        self._out.write(headers.END)
        self._out.flush()

    def _directory(self, top: int, name: bytes) -> None:
        """A directory and all below, without recursion: trees may be deeper than Python's stack."""
        self._header(name, kinds.DIRECTORY, os.fstat(top), top)
        level: list[tuple[int, bytes, Iterator[str]]] = [(top, name, iter(sorted(os.listdir(top))))]
        while level:
            directory, prefix, names = level[-1]
            entry = next(names, None)
            if entry is None:
                os.close(directory)
                level.pop()
                continue
            path = prefix + b"/" + os.fsencode(entry)
            try:
                below = self._entry(directory, entry, path)
            except FileNotFoundError:
                continue  # it has gone meanwhile
            except BrokenPipeError:
                raise
            except OSError as error:
                if error.errno == errno.EMFILE:
                    raise RootlessError(f"{self._doing}: {os.fsdecode(path)}: too many levels of directories") from None
                raise failure(self._doing, error, path) from None
            if below is not None:
                level.append((below, path, iter(sorted(os.listdir(below)))))

    def _entry(self, directory: int, name: str, path: bytes) -> int | None:
        """Write one entry of a directory; a directory is returned, open, for what is in it."""
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            found = os.fstat(handle)
            form = stat.S_IFMT(found.st_mode)
            if form == stat.S_IFDIR:
                if found.st_dev in self._kernels:
                    self._header(path, kinds.DIRECTORY, found)
                    return None
                below = os.open(".", DIRECTORY, dir_fd=handle)
                self._header(path, kinds.DIRECTORY, found, below)
                return below
            if found.st_nlink > 1 and form != stat.S_IFSOCK:
                first = self._links.setdefault((found.st_dev, found.st_ino), path)
                if first != path:
                    self._header(path, kinds.HARD_LINK, found, link=first)
                    return None
            if form == stat.S_IFREG:
                self._file(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC), path)
            elif form == stat.S_IFLNK:
                self._header(path, kinds.SYMLINK, found, link=os.readlink(b"", dir_fd=handle))
            elif form == stat.S_IFIFO:
                self._header(path, kinds.FIFO, found)
            elif form in (stat.S_IFCHR, stat.S_IFBLK) and found.st_rdev:
                kind = kinds.CHARACTER if form == stat.S_IFCHR else kinds.BLOCK
                self._header(path, kind, found, device=(os.major(found.st_rdev), os.minor(found.st_rdev)))
        finally:
            os.close(handle)
        return None

    def _file(self, fd: int, path: bytes) -> None:
        try:
            found = os.fstat(fd)
            size = found.st_size
            if size <= _SMALL:  # also those of the kernel's, whose size is no measure
                data = _read_up_to(fd, _CHUNK if size == 0 else size)
                self._header(path, kinds.FILE, found, fd, size=len(data))
                self._out.write(data)
                self._out.write(headers.padding(len(data)))
                return
            write_contents(self._out, fd, size, partial(self._header, path, kinds.FILE, found, fd))
        finally:
            os.close(fd)

    def _header(self, path: bytes, kind: bytes, found: os.stat_result, fd: int = -1, **values: object) -> None:
        uid, gid = self._ids(found.st_uid, found.st_gid)
        xattrs = {} if fd < 0 else _attributes(fd)
        mode = stat.S_IMODE(found.st_mode)
        owner = {"mode": mode, "uid": uid, "gid": gid, "mtime": found.st_mtime_ns, "xattrs": xattrs}
        self._out.write(headers.header(path, kind, **owner, **values))  # type: ignore[arg-type]


def _read_up_to(fd: int, most: int) -> bytes:
    parts = []
    while most and (part := os.read(fd, most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _attributes(fd: int) -> dict[bytes, bytes]:
    found = {}
    try:
        for name in map(os.fsencode, os.listxattr(fd)):
            if name.startswith(_KEPT) and not name.startswith(_DRIVERS):
                found[name] = os.getxattr(fd, name)
    except OSError:  # a file system without any, or one that has just been taken away
        pass
    return found
