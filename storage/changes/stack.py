"""What directories show that lie over one another, as overlayfs would: read in place, without mounting anything.

They may belong to a container that runs and changes them while they are read. So nothing is reached but through the
descriptors of the roots, no link is followed and no other file system entered, and what has gone meanwhile is passed
over. Runs inside the mapped user namespace.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from rootless.errors import StorageError
from rootless.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from storage.tar.extract import OPAQUE, WHITEOUT
from storage.tar.places import is_whiteout

# what a name may turn out to be that was a directory, or a file, a moment ago
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO)

_OPAQUE_ATTRIBUTES = ("user.overlay.opaque", "user.fuseoverlayfs.opaque")
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 3800  # bytes of a path that the kernel takes at once
_LONGEST = 1 << 19  # bytes of a path; a tar reader's patience is not much more


@dataclass(slots=True)
class Node:
    """One name in a stack: `found` is what stat says of it, `layer` the number of the directory that it comes from.

    A directory has `parts`: the layers that show through in it, the uppermost first, and the identity (device, inode)
    of it in each. `opaque`: it hides what may lie at its place further below.
    """

    found: os.stat_result
    layer: int
    parts: list[int]
    identities: list[tuple[int, int]]
    opaque: bool = False

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)


class Stack:
    """The directories `paths`, the uppermost first: (path, whether names with `.wh.` are whiteouts in it)."""

    def __init__(self, paths: Sequence[tuple[str, bool]]) -> None:
        self._roots: list[int] = []
        self._marks = [marks for _, marks in paths]
        parts: list[int] = []
        identities = []
        hidden = False
        for number, (path, _) in enumerate(paths):
            fd = os.open(path, _DIRECTORY)
            self._roots.append(fd)
            if not hidden:
                found = os.fstat(fd)
                parts.append(number)
                identities.append((found.st_dev, found.st_ino))
                hidden = self._is_opaque(fd, number)
        self.root = Node(os.fstat(self._roots[0]), 0, parts, identities) if paths else None

    def close(self) -> None:
        for fd in self._roots:
            os.close(fd)
        self._roots.clear()

    def open(self, path: bytes, node: Node) -> int | None:
        """A descriptor of the file or directory at `path`, to read it; None where it is another by now.

        A fifo or a device that has taken its place is not waited for.
        """
        try:
            fd = _open_inside(self._roots[node.layer], path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) == (node.found.st_dev, node.found.st_ino):
            return fd
        os.close(fd)
        return None

    def link_target(self, path: bytes, node: Node) -> bytes | None:
        """Where the symbolic link at `path` leads; None where it has gone."""
        try:
            fd = _open_inside(self._roots[node.layer], path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise
        try:
            return os.readlink(b"", dir_fd=fd)
        except OSError as error:  # EINVAL, ENOENT: no link any more
            if error.errno in (*GONE, errno.EINVAL):
                return None
            raise
        finally:
            os.close(fd)

    def children(self, path: bytes, parts: Sequence[int]) -> dict[bytes, Node]:
        """What the directory `path` holds, merged from its `parts`."""
        nodes: dict[bytes, Node] = {}
        hidden: set[bytes] = set()
        for number in parts:
            try:
                fd = _open_inside(self._roots[number], path, _DIRECTORY)
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise
            try:
                self._merge(fd, number, nodes, hidden)
            finally:
                os.close(fd)
        return nodes

    def _merge(self, fd: int, number: int, nodes: dict[bytes, Node], hidden: set[bytes]) -> None:
        deleted = set()
        for text in os.listdir(fd):
            name = os.fsencode(text)
            if self._marks[number] and name.startswith(WHITEOUT):
                deleted.add(name[len(WHITEOUT) :])
                continue
            if name in hidden:
                continue
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            node = nodes.get(name)
            if stat.S_ISDIR(found.st_mode):
                if node is None:
                    node = nodes[name] = Node(found, number, [], [])
                node.parts.append(number)
                node.identities.append((found.st_dev, found.st_ino))
                if self._hides(fd, name, number):
                    node.opaque = True
                    hidden.add(name)
                continue
            hidden.add(name)
            if node is None and not is_whiteout(found):
                nodes[name] = Node(found, number, [], [])
        hidden |= deleted

    def _hides(self, parent: int, name: bytes, number: int) -> bool:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise
        try:
            return self._is_opaque(fd, number)
        finally:
            os.close(fd)

    def _is_opaque(self, fd: int, number: int) -> bool:
        for name in _OPAQUE_ATTRIBUTES if self._marks[number] else _OPAQUE_ATTRIBUTES[:1]:
            try:
                if os.getxattr(fd, name) == b"y":
                    return True
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
                    raise
        if not self._marks[number]:
            return False
        try:
            os.stat(OPAQUE, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


def _open_inside(root: int, path: bytes, flags: int) -> int:
    """Open `path` below `root` without following any link, however long it is."""
    if len(path) > _LONGEST:
        raise StorageError(f"reading {path[:60]!r}...: its path is longer than {_LONGEST} bytes")
    if len(path) <= _PIECE:
        return openat2(root, path or b".", flags, 0, _RESOLVE)
    current = os.dup(root)
    try:
        while len(path) > _PIECE:
            cut = path.rindex(b"/", 0, _PIECE)
            deeper = openat2(current, path[:cut], os.O_PATH | os.O_DIRECTORY, 0, _RESOLVE)
            os.close(current)
            current = deeper
            path = path[cut + 1 :]
        return openat2(current, path, flags, 0, _RESOLVE)
    finally:
        os.close(current)
