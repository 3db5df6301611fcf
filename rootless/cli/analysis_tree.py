"""The files of an image as a tree, with what one layer did to them: what the browsable analysis shows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from storage.images.analysis import ADDED, CHANGED, REMOVED, LayerReport
from storage.layers.entries import LayerEntry

UNCHANGED = " "
MARKS = (ADDED, CHANGED, REMOVED, UNCHANGED)
_TYPES = {
    "file": stat.S_IFREG,
    "hard link": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "character device": stat.S_IFCHR,
    "block device": stat.S_IFBLK,
    "fifo": stat.S_IFIFO,
    "directory": stat.S_IFDIR,
}


class FileNode:
    """A name. `mark` is one of MARKS; an unchanged directory is marked CHANGED where something below it is not.
    `size`: bytes of the file, or of all below that is not removed."""

    __slots__ = ("children", "entry", "mark", "name", "size")

    def __init__(self, name: str) -> None:
        self.name = name
        self.mark = UNCHANGED
        self.size = 0
        self.entry: LayerEntry | None = None
        self.children: dict[str, FileNode] = {}

    def details(self) -> str:
        """Permissions and owner as `ls` shows them, and where a link leads."""
        if self.entry is None:
            return "d" + "-" * 9 + " " * 12 if self.children else " " * 22
        entry = self.entry
        return f"{stat.filemode(_TYPES.get(entry.kind, 0) | entry.mode)} {f'{entry.uid}:{entry.gid}':<11}"

    def target(self) -> str:
        """Where a link leads, with an arrow before it; "" for all else."""
        if self.entry is None or not self.entry.link:
            return ""
        return f" -> {os.fsdecode(self.entry.link)}"

    def ordered(self) -> list[FileNode]:
        """The children by name."""
        return sorted(self.children.values(), key=lambda child: child.name)


def tree_after(layers: Sequence[LayerReport], number: int, alone: bool = False) -> FileNode:
    """The files that one sees through the layers up to `number`, marked with what that one did; `alone`: only what it
    did."""
    root = FileNode("")
    for place, layer in enumerate(layers[: number + 1]):
        last = place == number
        if alone and not last:
            continue
        for change in layer.changes:
            path = os.fsdecode(change.path)
            if change.kind == REMOVED and not last:
                _remove(root, path)
                continue
            node = _node(root, path)
            node.mark = change.kind if last else UNCHANGED
            node.size = change.size
            if change.entry is not None:
                if change.entry.kind != "directory":
                    node.children.clear()
                node.entry = change.entry
    _sum(root)
    return root


def _node(root: FileNode, path: str) -> FileNode:
    node = root
    for part in path.split("/"):
        child = node.children.get(part)
        if child is None:
            child = node.children[part] = FileNode(part)
        node = child
    return node


def _remove(root: FileNode, path: str) -> None:
    above, node = [], root
    for part in path.split("/"):
        child = node.children.get(part)
        if child is None:
            return
        above.append((node, part))
        node = child
    for parent, part in reversed(above):
        del parent.children[part]
        if parent.children or parent.entry is not None or parent is root:
            break  # a directory that no entry describes goes with the last thing in it


def _sum(root: FileNode) -> None:
    """Sizes and marks of directories, from what is below them."""
    order = [root]
    for node in order:
        order.extend(node.children.values())
    for node in reversed(order):
        if not node.children:
            continue
        below = node.children.values()
        node.size = sum(child.size for child in below if child.mark != REMOVED)
        marks = {child.mark for child in below}
        if node.mark == UNCHANGED and marks != {UNCHANGED}:
            node.mark = marks.pop() if len(marks) == 1 and node.entry is None else CHANGED


def visible(root: FileNode, text: str, hidden: frozenset[str]) -> dict[int, None]:
    """The ids (`id()`) of the nodes to show: what has nothing below it, has `text` in its path (in any case) and a mark
    that is not in `hidden`; and the directories above."""
    shown: dict[int, None] = {}
    wanted = text.lower()
    for path, nodes in _walk(root):
        node = nodes[-1]
        if not node.children and node.mark not in hidden and wanted in path.lower():
            shown.update((id(one), None) for one in nodes)
    return shown


def _walk(root: FileNode) -> Iterator[tuple[str, list[FileNode]]]:
    """Every node below the root, with its path and the nodes that lead there."""
    waiting = [(child.name, [child]) for child in reversed(root.ordered())]
    while waiting:
        path, nodes = waiting.pop()
        yield path, nodes
        waiting += [(f"{path}/{child.name}", [*nodes, child]) for child in reversed(nodes[-1].ordered())]
