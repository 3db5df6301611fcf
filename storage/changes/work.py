"""What is done with trees (storage.changes.tree) by a child inside the mapped user namespace."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

from rootless.errors import StorageError
from storage.changes.compare import ADDED, CHANGED, DELETED, SAME, Change, Comparison
from storage.changes.stack import Stack
from storage.changes.tarball import Tarball
from storage.changes.tree import Tree
from storage.drivers import UNMAPPED
from storage.tar.extract import WHITEOUT


def list_changes(new: Tree, old: Tree, above: bool, skipped: Collection[bytes]) -> list[tuple[str, bytes]]:
    """(kind, path) of every change from `old` to `new`, as `diff` shows them; paths are absolute.

    `skipped` are paths that are not shown: what the engine itself puts into every container.
    """
    found: list[tuple[str, bytes]] = []
    shown: set[bytes] = set()  # directories that have their line
    with _compared(new, old, above) as comparison:
        for change in comparison.changes():
            path = b"/" + change.path
            is_directory = change.node is not None and change.node.is_directory
            if change.kind == SAME:
                continue
            missing = _parents(path, shown)
            found += [(CHANGED, parent) for parent in missing]
            shown.update(missing)
            found.append((DELETED if change.replaced else change.kind, path))
            if is_directory:
                shown.add(path)
    return [(kind, path) for kind, path in found if path not in skipped]


def write_layer(
    new: Tree, old: Tree, above: bool, skipped: Collection[bytes], out: int
) -> tuple[int, list[tuple[str, bytes]]]:
    """Write the tar of a layer that turns `old` into `new` to `out`: (entries, what could not be put into it).

    Of `skipped`, what is new and has nothing in it is left out.
    """
    refused: list[tuple[str, bytes]] = []
    with _compared(new, old, above) as comparison:
        tarball = Tarball(comparison.new, out, new.single)
        if comparison.root_differs() and comparison.new.root is not None:
            tarball.add(b"", comparison.new.root)
        pending: list[Change] = []  # directories around the present change that are not written yet
        for change in comparison.changes():
            while pending and not change.path.startswith(pending[-1].path + b"/"):
                pending.pop()
            base = change.path.rpartition(b"/")[2]
            if base.startswith(WHITEOUT):
                refused.append(("its name begins with .wh., which marks deleted files", change.path))
                continue
            node = change.node
            if node is not None and node.is_directory:
                pending.append(change)
                if change.kind == SAME or (change.kind == ADDED and b"/" + change.path in skipped):
                    continue
            elif change.kind == ADDED and b"/" + change.path in skipped and node is not None and not node.found.st_size:
                continue
            for directory in pending:
                _write_directory(tarball, directory)
            pending.clear()
            if node is None:
                tarball.delete(change.path)
            elif not node.is_directory:
                tarball.add(change.path, node)
        tarball.close()
        return tarball.entries, refused


def write_tree(tree: Tree, out: int, dates_root: bool = False) -> int:
    """Write all of `tree` as a tar to `out`; how many entries there are. `dates_root`: with the time of its root."""
    nothing = Tree((), tree.single)
    with _compared(tree, nothing, False) as comparison:
        tarball = Tarball(comparison.new, out, tree.single, dates_root)
        root = comparison.new.root
        if root is not None and (dates_root or _unusual(comparison)):
            tarball.add(b"", root)
        for change in comparison.changes():
            if change.node is not None:
                tarball.add(change.path, change.node)
        tarball.close()
        return tarball.entries


def _unusual(comparison: Comparison) -> bool:
    """Whether the root is other than what a layer that does not describe it has: root's, 0755, no attributes."""
    from storage.changes.facts import Facts, facts_of

    root = comparison.new.root
    return root is not None and facts_of(comparison.new, b"", root, comparison.single) != Facts(0o755, 0, 0, {})


def _write_directory(tarball: Tarball, change: Change) -> None:
    if change.node is not None:
        tarball.add(change.path, change.node)
    if change.replaced:
        tarball.hide_below(change.path)


def _parents(path: bytes, shown: Collection[bytes]) -> list[bytes]:
    """The directories above an absolute path, the uppermost first, without the root and those that are `shown`: above
    one of those all are."""
    found = []
    end = path.rfind(b"/")
    while end > 0 and path[:end] not in shown:
        found.append(path[:end])
        end = path.rfind(b"/", 0, end)
    return found[::-1]


@contextmanager
def _compared(new: Tree, old: Tree, above: bool) -> Iterator[Comparison]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a descriptor for each of up to 1,000 layers
    try:
        with closing(Stack(new.directories)) as upper, closing(Stack(old.directories)) as lower:
            yield Comparison(upper, lower, above, new.single, new.copied)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        name = os.fsdecode(error.filename) if error.filename else "the files"
        hint = UNMAPPED if new.single and isinstance(error, PermissionError) else None
        raise StorageError(f"reading {name}: {error.strerror}", hint) from None
