"""An extracted layer against what it must look like (`storage.upkeep.check.replay`). Runs in the user namespace."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from storage.tar.attributes import OVERRIDE
from storage.tar.record import open_below
from storage.upkeep.check.replay import ANY, REMOVED, Node, kind_of

_OPAQUE = b"user.overlay.opaque"
_CAPABILITY = b"security.capability"
_ACL = b"system.posix_acl_access"
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_SECOND = 1_000_000_000
_TIMES = range(-(1 << 31), 1 << 31)  # seconds that every file system can keep
_UNCHANGED = 0xFFFFFFFF


class Comparison:
    """`differences` yields a line for each thing that is not as it must be. `single`: it was extracted for one id;
    `settled`: what only lower layers have told is there, too."""

    def __init__(self, diff_fd: int, nodes: dict[bytes, Node], single: bool, settled: bool) -> None:
        self._diff = diff_fd
        self._nodes = nodes
        self._single = single
        self._settled = settled
        self._uids = _mapped("uid")
        self._gids = _mapped("gid")

    def differences(self) -> Iterator[str]:
        """Each path is taken out of `nodes` when it is found; what is left is missing."""
        root = self._nodes.pop(b"")
        yield from self._attributes(b"", b".", root, os.stat(b".", dir_fd=self._diff), self._diff)
        todo = [b""]
        while todo:
            directory = todo.pop()
            try:
                fd = open_below(directory or b".", os.O_RDONLY | os.O_DIRECTORY, self._diff)
            except OSError as error:
                yield f"{_shown(directory)}: {error.strerror}"
                continue
            try:
                for name in os.listdir(fd):
                    base = os.fsencode(name)
                    path = directory + b"/" + base if directory else base
                    found = os.stat(base, dir_fd=fd, follow_symlinks=False)
                    node = self._nodes.pop(path, None)
                    if node is None:
                        if not self._is_mark(directory, base):
                            yield f"{_shown(path)}: it does not belong there"
                        continue
                    yield from self._entry(path, base, node, found, fd)
                    if node.kind == "directory" and stat.S_ISDIR(found.st_mode):
                        todo.append(path)
            finally:
                os.close(fd)
        for path in sorted(self._nodes):
            if self._settled or self._nodes[path].kind != ANY:
                yield f"{_shown(path)}: it is missing"

    def _is_mark(self, directory: bytes, base: bytes) -> bool:
        """Whether this is the file that marks a deleted name where no device could be made."""
        if not base.startswith(b".wh."):
            return False
        path = directory + b"/" + base[4:] if directory else base[4:]
        node = self._nodes.get(path)
        if node is None or node.kind != REMOVED:
            return False
        del self._nodes[path]
        return True

    def _entry(self, path: bytes, base: bytes, node: Node, found: os.stat_result, fd: int) -> Iterator[str]:
        kind = kind_of(found.st_mode, found.st_rdev)
        if kind != node.kind:
            if node.kind != ANY or kind == "directory":
                yield f"{_shown(path)}: it is a {kind}, not a {node.kind}"
            return
        if kind != REMOVED:
            yield from self._attributes(path, base, node, found, fd)

    def _attributes(self, path: bytes, base: bytes, node: Node, found: os.stat_result, fd: int) -> Iterator[str]:
        shown, kind = _shown(path), node.kind
        os.fchdir(fd)
        attributes = [os.fsencode(name) for name in os.listxattr(base, follow_symlinks=False)]
        if kind == "directory" and (_OPAQUE in attributes) is not node.opaque:
            yield f"{shown}: it {'hides' if _OPAQUE in attributes else 'does not hide'} what is below"
        if not node.known:
            return
        if kind == "file" and found.st_size != node.size:
            yield f"{shown}: it has {found.st_size} bytes, not {node.size}"
        if kind == "symbolic link" and os.readlink(base, dir_fd=fd) != node.link:
            yield f"{shown}: it leads elsewhere"
        if not node.settled and not _same_time(node.mtime, found.st_mtime_ns):
            yield f"{shown}: it was changed at another time"
        squashed = self._squashed(node)
        owner = (0, 0) if squashed else (node.uid, node.gid)
        if (found.st_uid, found.st_gid) != owner and not self._noted(base, node, found):
            yield f"{shown}: it belongs to {found.st_uid}:{found.st_gid}, not to {owner[0]}:{owner[1]}"
        if kind != "symbolic link":
            wrong = (found.st_mode & 0o7777) ^ _mode(node, squashed)
            if _ACL in node.xattrs:
                wrong &= ~0o070  # the mask of the list stands there
            if wrong:
                yield f"{shown}: its mode is {found.st_mode & 0o7777:04o}, not {_mode(node, squashed):04o}"
        if kind in ("file", "directory"):
            yield from _extended(shown, base, node, attributes)

    def _squashed(self, node: Node) -> bool:
        if not (node.uid or node.gid):
            return False
        return self._single or not (_within(node.uid, self._uids) and _within(node.gid, self._gids))

    def _noted(self, base: bytes, node: Node, found: os.stat_result) -> bool:
        """Whether the file is root's and its own owner a note, as where fewer ids were mapped at its extraction."""
        if (found.st_uid, found.st_gid) != (0, 0):
            return False
        if node.kind not in ("file", "directory"):
            return True
        try:
            noted = os.getxattr(base, OVERRIDE, follow_symlinks=False)
        except OSError:
            return False
        return noted.startswith(b"%d:%d:" % (node.uid, node.gid))


def _extended(shown: str, base: bytes, node: Node, names: list[bytes]) -> Iterator[str]:
    for name in names:
        if name.startswith(b"user.") and name not in node.xattrs and name not in (OVERRIDE, _OPAQUE):
            yield f"{shown}: the attribute {_shown(name)} does not belong there"
    for name, value in node.xattrs.items():
        if not name.startswith(b"user.") and name != _CAPABILITY:
            continue  # the kernel may have brought an access control list into another form
        try:
            found = os.getxattr(base, name, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENODATA:
                yield f"{shown}: the attribute {_shown(name)} is missing"
            continue
        if found != value and (name != _CAPABILITY or found[4:20] != value[4:20]):
            yield f"{shown}: the attribute {_shown(name)} has another value"


def _mode(node: Node, squashed: bool) -> int:
    """The mode that the extractor gives: somebody else's program must not run as root where root has its file."""
    if squashed and node.kind == "file" and node.mode & _SPECIAL:
        return node.mode & ~(stat.S_ISUID if node.uid else 0) & ~(stat.S_ISGID if node.gid else 0)
    return node.mode


def _same_time(wanted: int, found: int) -> bool:
    """Also for file systems that keep no nanoseconds, or no such years."""
    if wanted == found or wanted // _SECOND not in _TIMES:
        return True
    return wanted // _SECOND == found // _SECOND and found % 1000 == 0


def _mapped(kind: str) -> list[tuple[int, int]]:
    """Ranges (first, count) of the ids of this namespace."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        return [(int(fields[0]), int(fields[2])) for fields in map(str.split, file)]


def _within(number: int, ranges: list[tuple[int, int]]) -> bool:
    return number != _UNCHANGED and any(first <= number < first + count for first, count in ranges)


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace") if path else "its root"
