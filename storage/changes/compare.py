"""What one root file system has that another has not: pairs of stacks (storage.changes.stack), walked side by side.

Directories that both show from the same places are the same, and not looked into: a container costs what it has
changed, not what its image is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from storage.changes.facts import facts_of
from storage.changes.stack import Node, Stack

ADDED = "A"
CHANGED = "C"
DELETED = "D"
SAME = " "  # a directory that differs, if at all, in what is below it

_READ = 1 << 20


@dataclass(slots=True)
class Change:
    """`path` is relative to the root. `node` is None for what was deleted. `replaced`: a directory that has nothing in
    common with the one that was there."""

    kind: str
    path: bytes
    node: Node | None
    replaced: bool = False


@dataclass(slots=True)
class Comparison:
    """`new` against `old`.

    `above`: `new` is `old` with a writable directory on top, so whatever lies there is a change. Otherwise files are
    the same where all that stat says is, and their content; the content is believed to be the same in files that have
    not been touched since the moment `copied` (nanoseconds), at which `new` was made as a copy of `old`.
    """

    new: Stack
    old: Stack
    above: bool
    single: bool
    copied: int | None = None

    def changes(self) -> Iterator[Change]:
        """In the order of a walk with sorted names; a directory comes before what is in it."""
        root, before = self.new.root, self.old.root
        if root is not None and before is not None and root.identities == before.identities:
            return
        levels = [self._level(b"", root, before)]
        while levels:
            step = next(levels[-1], None)
            if step is None:
                levels.pop()
                continue
            change, below = step
            yield change
            if change.node is not None and change.node.is_directory:
                levels.append(self._level(change.path + b"/", change.node, below))

    def root_differs(self) -> bool:
        """Whether the root directory itself has another owner, mode or attributes."""
        new, old = self.new.root, self.old.root
        if new is None or old is None:
            return new is not None
        return facts_of(self.new, b"", new, self.single) != facts_of(self.old, b"", old, self.single)

    def _level(self, prefix: bytes, new: Node | None, old: Node | None) -> Iterator[tuple[Change, Node | None]]:
        """The changes in one directory, each with what was there before and is a directory, too."""
        place = prefix[:-1]
        news = self.new.children(place, new.parts) if new else {}
        olds = self.old.children(place, old.parts) if old else {}
        for name in sorted({*news, *olds}):
            path = prefix + name
            node, before = news.get(name), olds.get(name)
            if node is None:
                yield Change(DELETED, path, None), None
            elif before is None:
                yield Change(ADDED, path, node), None
            elif node.is_directory and before.is_directory:
                if node.identities == before.identities:
                    continue
                if self.above and node.opaque and not set(before.identities) & set(node.identities):
                    yield Change(CHANGED, path, node, replaced=True), None
                    continue
                differs = node.found.st_mtime_ns != before.found.st_mtime_ns or not self._alike(path, node, before)
                yield Change(CHANGED if differs else SAME, path, node), before
            elif node.is_directory or before.is_directory or not self._same_file(path, node, before):
                yield Change(CHANGED, path, node), None

    def _same_file(self, path: bytes, node: Node, before: Node) -> bool:
        new, old = node.found, before.found
        if (new.st_dev, new.st_ino) == (old.st_dev, old.st_ino):
            return True
        if self.above and node.layer == 0:
            return False
        if (stat.S_IFMT(new.st_mode), new.st_rdev, new.st_size, new.st_mtime_ns) != (
            stat.S_IFMT(old.st_mode),
            old.st_rdev,
            old.st_size,
            old.st_mtime_ns,
        ):
            return False
        if self.copied is not None and new.st_ctime_ns <= self.copied:
            return True
        return self._alike(path, node, before) and self._same_content(path, node, before)

    def _alike(self, path: bytes, node: Node, before: Node) -> bool:
        return facts_of(self.new, path, node, self.single) == facts_of(self.old, path, before, self.single)

    def _same_content(self, path: bytes, node: Node, before: Node) -> bool:
        if stat.S_ISLNK(node.found.st_mode):
            return self.new.link_target(path, node) == self.old.link_target(path, before)
        if not stat.S_ISREG(node.found.st_mode):
            return True
        one, other = self.new.open(path, node), self.old.open(path, before)
        try:
            return one is not None and other is not None and _equal(one, other)
        finally:
            for fd in (one, other):
                if fd is not None:
                    os.close(fd)


def _equal(one: int, other: int) -> bool:
    at = 0
    while True:
        data = os.pread(one, _READ, at)
        if data != os.pread(other, _READ, at):
            return False
        if not data:
            return True
        at += len(data)
