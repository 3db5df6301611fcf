"""What a layer's directory must look like, worked out from its record alone: `storage.tar.extract` without a disk.

The rules are those of the extractor, in its order. What only lower layers tell (hard links to their files, directories
that no entry describes) is known to be there and otherwise not known.
"""

from __future__ import annotations

import stat

from rootless.errors import StorageError
from storage.tar.attributes import is_kept
from storage.tar.extract import OPAQUE, WHITEOUT
from storage.tar.places import clean
from storage.tar.reader import DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Entry, TarReader

ANY = "any"  # something that is no directory, of which nothing else is known
REMOVED = "removed"  # the mark that a name below is deleted
_KINDS = {FILE: "file", DIRECTORY: "directory", SYMLINK: "symbolic link", FIFO: "fifo"}
_MAX_LINKS = 40


class Node:
    """What must be at a path. `entry` is None where nothing describes it. `opaque`: a directory that hides those below.
    `settled`: something was put into the directory later, which has changed its time."""

    __slots__ = ("gid", "kind", "known", "link", "mode", "mtime", "opaque", "settled", "size", "uid", "xattrs")

    def __init__(self, kind: str, entry: Entry | None = None) -> None:
        self.kind = kind
        self.known = entry is not None
        self.opaque = self.settled = False
        self.xattrs: dict[bytes, bytes] = {}
        self.link = b""
        self.mode = self.uid = self.gid = self.size = self.mtime = 0
        if entry is not None:
            self.describe(entry)

    def describe(self, entry: Entry) -> None:
        """Take over what an entry says."""
        self.known = True
        self.mode = entry.mode & 0o7777
        self.uid, self.gid = entry.uid, entry.gid
        self.size, self.mtime, self.link = entry.size, entry.mtime, entry.link
        for key, value in (entry.xattrs or {}).items():
            if is_kept(key) and b"\0" not in key:
                self.xattrs[key] = value


def replay(reader: TarReader) -> dict[bytes, Node]:
    """What must be in the layer, by path without symbolic links; b"" is its root. Raises StorageError, ImageError where
    the record cannot be right."""
    tree = _Tree()
    for entry in reader:
        name = clean(entry.name, "name")
        if b".wh." in name and tree.marks(name, entry, reader):
            continue
        tree.add(name, entry)
    return tree.nodes


class _Tree:
    def __init__(self) -> None:
        self.nodes: dict[bytes, Node] = {b"": Node("directory")}
        self._real: dict[bytes, bytes] = {b"": b""}

    def add(self, name: bytes, entry: Entry) -> None:
        kind = _KINDS.get(entry.kind)
        if kind == "directory":
            self._directory(name, entry)
            return
        path = self._place(name)
        if kind is not None:
            self._clear(path)
            self.nodes[path] = Node(kind, entry)
        elif entry.kind == HARD_LINK:
            self._link(path, clean(entry.link, "link target"))
        # devices are in the record only

    def _directory(self, name: bytes, entry: Entry) -> None:
        path = self._place(name) if name else b""
        found = self.nodes.get(path)
        if found is not None and found.kind == "directory":
            found.describe(entry)
            return
        self._clear(path)
        node = self.nodes[path] = Node("directory", entry)
        node.opaque = found is not None and found.kind == REMOVED
        self._real[path] = path

    def _link(self, path: bytes, target: bytes) -> None:
        directory, _, base = target.rpartition(b"/")
        real = self._walk(directory, make=False)
        source = None if real is None else self.nodes.get(_join(real, base))
        if source is None or source.kind == REMOVED:
            if path not in self.nodes:
                self.nodes[path] = Node(ANY)
            self.nodes[path.rpartition(b"/")[0]].settled = True
        elif source is not self.nodes.get(path):
            self._clear(path)
            self.nodes[path] = source

    def marks(self, name: bytes, entry: Entry, reader: TarReader) -> bool:
        """Take `.wh.` names for what they mean; False where `name` is none."""
        directory, _, base = name.rpartition(b"/")
        if not base.startswith(WHITEOUT):
            return False
        reader.payload_to_raw()
        real = self._parent(directory)
        if base == OPAQUE:
            self.nodes[real].opaque = True
        elif not base.startswith(b".wh..wh."):
            path = _join(real, base[len(WHITEOUT) :])
            found = self.nodes.get(path)
            if found is None:
                self.nodes[path] = Node(REMOVED)
            elif found.kind == "directory":
                found.opaque = True
        return True

    def _place(self, name: bytes) -> bytes:
        directory, _, base = name.rpartition(b"/")
        return _join(self._parent(directory), base)

    def _clear(self, path: bytes) -> None:
        """Forget what is at `path`, with all below it."""
        found = self.nodes.pop(path, None)
        if found is None or found.kind in ("file", REMOVED):
            return
        self._real = {b"": b""}
        if found.kind == "directory":
            below = path + b"/"
            for other in [other for other in self.nodes if other.startswith(below)]:
                del self.nodes[other]

    def _parent(self, directory: bytes) -> bytes:
        real = self._real.get(directory)
        if real is None:
            real = self._walk(directory, make=True)
            assert real is not None
            self._real[directory] = real
        return real

    def _walk(self, directory: bytes, make: bool) -> bytes | None:
        """The path of `directory` without symbolic links; parts that no entry describes are made, or None."""
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
            node = self.nodes.get(path)
            if node is None or node.kind == REMOVED:
                if not make:
                    return None
                made = self.nodes[path] = Node("directory")
                made.opaque = node is not None
            elif node.kind == "symbolic link":
                links += 1
                if links > _MAX_LINKS:
                    raise StorageError(f"its record names {path!r}, a circle of symbolic links")
                if node.link.startswith(b"/"):
                    done = []
                todo.extend(node.link.split(b"/")[::-1])
                continue
            elif node.kind != "directory":
                raise StorageError(f"its record names something below {path!r}, which is no directory")
            done.append(part)
        return b"/".join(done)


def _join(real: bytes, base: bytes) -> bytes:
    return real + b"/" + base if real else base


def kind_of(mode: int, device: int) -> str:
    """What a file is, in the words of `Node.kind`."""
    if stat.S_ISCHR(mode) and device == 0:
        return REMOVED
    for test, word in ((stat.S_ISREG, FILE), (stat.S_ISDIR, DIRECTORY), (stat.S_ISLNK, SYMLINK), (stat.S_ISFIFO, FIFO)):
        if test(mode):
            return _KINDS[word]
    return "device or socket"
