"""Where an entry's name leads inside the layer that is being extracted.

We are chrooted into the layer, so no name can lead outside. What is decided here is where inside: `..` is refused, the
symbolic links of the layer itself are followed for parents as the kernel would, missing parents are made.
"""

from __future__ import annotations

import os
import stat

from rootless.errors import ImageError
from storage.tar.record import open_below

_MAX_LINKS = 40
_OPAQUE = ("user.overlay.opaque", b"y")


def clean(name: bytes, what: str) -> bytes:
    """`name` relative to the layer's root without empty and "." parts; b"" is the root itself.

    Raises ImageError for a name with NUL, and for one that climbs out of the layer.
    """
    if name[:2] == b"./":
        name = name[2:]
    if name.endswith(b"/"):
        name = name[:-1]
    if b"\0" in name:
        raise ImageError(f"extracting {name!r}: a NUL in the {what}")
    if name[:1] not in (b"/", b".", b"") and b"//" not in name and b"/." not in name:
        return name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise ImageError(f"extracting {name!r}: the {what} leads out of the layer")
            parts.pop()
        elif part and part != b".":
            parts.append(part)
    return b"/".join(parts)


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this is overlayfs' mark for a deleted name: a character device 0:0, which needs no privilege."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


class Places:
    """The directories of the layer whose root is open as `root_fd` (and is the process' root)."""

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self.implied: set[bytes] = set()
        self._real: dict[bytes, bytes] = {b"": b""}
        self._open_name: bytes = b""
        self._open_fd = root_fd

    def parent(self, name: bytes) -> tuple[int, bytes, bytes]:
        """(descriptor of the parent directory, its path without symlinks, last part of `name`); parents are made.

        The descriptor is ours and stays valid until the next call.
        """
        directory, _, base = name.rpartition(b"/")
        real = self._real.get(directory)
        if real is None:
            real = self._real[directory] = self._walk(directory, True)
        return self._descriptor(real), real, base

    def existing_parent(self, name: bytes) -> tuple[int, bytes, bytes]:
        """As `parent`, for a name that must exist; the descriptor is the caller's. Raises FileNotFoundError."""
        directory, _, base = name.rpartition(b"/")
        real = self._real.get(directory)
        if real is None:
            real = self._walk(directory, False)
        return open_below(real or b".", os.O_PATH | os.O_DIRECTORY, self.root_fd), real, base

    def made(self, directory: bytes) -> None:
        """`directory` (without symlinks) is a real directory now, made by an entry of its own."""
        self._real[directory] = directory
        self.implied.discard(directory)

    def forget(self) -> None:
        """A directory or a link went away: nothing that is remembered is sure any more."""
        self._real = {b"": b""}
        self._descriptor(b"")

    def _descriptor(self, real: bytes) -> int:
        if real != self._open_name:
            fd = open_below(real, os.O_PATH | os.O_DIRECTORY, self.root_fd) if real else self.root_fd
            if self._open_fd != self.root_fd:
                os.close(self._open_fd)
            self._open_name, self._open_fd = real, fd
        return self._open_fd

    def _walk(self, directory: bytes, make: bool) -> bytes:
        """The path of `directory` without symlinks. Missing parts are made where `make`, else FileNotFoundError."""
        todo = directory.split(b"/")[::-1]
        done: list[bytes] = []
        links = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            path = b"/".join([*done, part])
            if self._real.get(path) == path:
                done.append(part)
                continue
            fd = open_below(b"/".join(done) or b".", os.O_PATH | os.O_DIRECTORY, self.root_fd)
            try:
                target = self._step(fd, part, path, make)
            finally:
                os.close(fd)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise ImageError(f"extracting below {directory!r}: too many levels of symbolic links")
            if target.startswith(b"/"):
                done = []
            todo.extend(target.split(b"/")[::-1])
        return b"/".join(done)

    def _step(self, fd: int, part: bytes, path: bytes, make: bool) -> bytes | None:
        """None where `part` below `fd` is a directory (now); the target where it is a symlink."""
        try:
            found = os.stat(part, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            if not make:
                raise
            found = None
        if found is not None and stat.S_ISLNK(found.st_mode):
            return os.readlink(part, dir_fd=fd)
        if found is None or is_whiteout(found):
            if not make:
                raise FileNotFoundError(2, os.strerror(2), path)
            if found is not None:
                os.unlink(part, dir_fd=fd)
            os.mkdir(part, 0o755, dir_fd=fd)
            self.implied.add(path)
            if found is not None:
                set_opaque(fd, part)
        elif not stat.S_ISDIR(found.st_mode):
            raise ImageError(f"extracting below {path!r}: it is not a directory")
        self._real[path] = path
        return None


def set_opaque(dir_fd: int, name: bytes) -> None:
    """Have the directory `name` hide what the layers below hold at its place."""
    set_xattr(dir_fd, name, _OPAQUE[0].encode(), _OPAQUE[1])


def set_xattr(dir_fd: int, name: bytes, key: bytes, value: bytes) -> None:
    """setxattr on `name` itself (not what it points to) in the directory open as `dir_fd`: there is no setxattrat."""
    os.fchdir(dir_fd)
    os.setxattr(name or b".", key, value, follow_symlinks=False)
