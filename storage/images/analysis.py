"""What each layer of an image has added, changed and removed, and what of it is wasted.

Only files count (and links and devices, which have no size); directories are there for their files. With the copies of
a path being what the layers say of it, one after the other, a removal counting as a copy of no bytes,

    efficiency = sum over all paths of the smallest copy / sum over all paths of all copies

as dive computes it (1 where there is nothing at all). A removed directory is the removal of each file below it, where
dive counts the directory alone. `wasted` are the bytes that no container sees: of files that a later layer replaces or
removes. dive's "wasted" counts the last copy, too. `wasted_user` is their share of what the layers above the lowest
hold, which are whoever's who has built on a base image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from storage.layers.entries import OPAQUE, WHITEOUT, LayerEntry, layer_entries
from storage.lookup import Image
from storage.store import Store

ADDED, CHANGED, REMOVED = "A", "C", "D"
_DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Change:
    """What a layer does to a path: `kind` is ADDED, CHANGED or REMOVED; `entry` is None for what is removed, of which
    `size` bytes were there. Otherwise `size` is what the layer holds of it."""

    path: bytes
    kind: str
    size: int
    entry: LayerEntry | None


@dataclass(slots=True)
class Tally:
    """A number of files, and their bytes."""

    files: int = 0
    bytes: int = 0

    def count(self, size: int) -> None:
        self.files += 1
        self.bytes += size


@dataclass(slots=True)
class LayerReport:
    """`diff_id` in hex, `command` that made the layer ("" where nobody says); `size` in bytes of its files."""

    diff_id: str
    command: str
    size: int = 0
    added: Tally = field(default_factory=Tally)
    changed: Tally = field(default_factory=Tally)
    removed: Tally = field(default_factory=Tally)
    changes: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class FileReport:
    """A path that several layers have something to say of: `copies` (removals among them), `bytes` of all of them,
    `smallest`, and how many are `wasted`."""

    path: bytes
    copies: int = 0
    bytes: int = 0
    smallest: int = -1
    wasted: int = 0

    def add(self, size: int) -> None:
        self.copies += 1
        self.bytes += size
        self.smallest = size if self.smallest < 0 else min(self.smallest, size)


@dataclass(frozen=True, slots=True)
class Analysis:
    """`layers` the lowest first; `files`: those that waste something or exist several times, the worst first."""

    layers: list[LayerReport]
    files: list[FileReport]
    size: int
    user_size: int
    wasted: int
    efficiency: float

    @property
    def wasted_user(self) -> float:
        """The share of the wasted bytes in what the layers above the lowest hold, 0 to 1 or more."""
        return self.wasted / self.user_size if self.user_size else 0.0


class Folder:
    """A directory of the merged tree; what is no directory is a LayerEntry in it."""

    __slots__ = ("children", "entry")

    def __init__(self, entry: LayerEntry | None = None) -> None:
        self.entry = entry
        self.children: dict[bytes, Folder | LayerEntry] = {}

    def files(self) -> Iterator[LayerEntry]:
        """All that is below and no directory."""
        waiting = [self]
        while waiting:
            for child in waiting.pop().children.values():
                if isinstance(child, Folder):
                    waiting.append(child)
                else:
                    yield child


class Merged:
    """The files that one sees through the layers so far; `apply` puts one more on top."""

    def __init__(self) -> None:
        self.root = Folder()

    def apply(self, entries: Iterable[LayerEntry]) -> list[Change]:
        """What the layer changes, in the order of its tar; removals first, as they mean the layers below only."""
        own: dict[bytes, LayerEntry] = {}
        removed: dict[bytes, LayerEntry] = {}
        for entry in entries:
            if entry.kind == WHITEOUT:
                self._take(entry.path, removed)
            elif entry.kind == OPAQUE:
                folder = self._folder(entry.path)
                for name in list(folder.children) if folder else ():
                    self._take((entry.path + b"/" if entry.path else b"") + name, removed)
            else:
                own.pop(entry.path, None)  # the last one of a name is what stays
                own[entry.path] = entry
        changes = [change for entry in own.values() if entry.path and (change := self._put(entry, removed))]
        gone = [Change(path, REMOVED, entry.stored, None) for path, entry in removed.items()]
        return gone + changes

    def _put(self, entry: LayerEntry, removed: dict[bytes, LayerEntry]) -> Change | None:
        parent, base = self._parent(entry.path, removed)
        old = parent.children.get(base)
        replaced = removed.pop(entry.path, None) is not None
        if entry.kind == _DIRECTORY:
            if isinstance(old, Folder):
                same = old.entry is not None and _access(old.entry) == _access(entry)
                old.entry = entry
                return None if same else Change(entry.path, CHANGED, 0, entry)
            parent.children[base] = Folder(entry)
            replaced = replaced or old is not None
            if old is not None:
                removed[entry.path] = old
            return Change(entry.path, CHANGED if replaced else ADDED, 0, entry)
        if isinstance(old, Folder):
            for below in old.files():
                removed[below.path] = below
        parent.children[base] = entry
        kind = CHANGED if replaced or old is not None else ADDED
        return Change(entry.path, kind, entry.stored, entry)

    def _take(self, path: bytes, removed: dict[bytes, LayerEntry]) -> None:
        directory, _, base = path.rpartition(b"/")
        folder = self._folder(directory)
        old = folder.children.pop(base, None) if folder else None
        if isinstance(old, Folder):
            removed.update((entry.path, entry) for entry in old.files())
        elif old is not None:
            removed[path] = old

    def _folder(self, path: bytes) -> Folder | None:
        folder = self.root
        for part in path.split(b"/") if path else ():
            child = folder.children.get(part)
            if not isinstance(child, Folder):
                return None
            folder = child
        return folder

    def _parent(self, path: bytes, removed: dict[bytes, LayerEntry]) -> tuple[Folder, bytes]:
        *parts, base = path.split(b"/")
        folder = self.root
        for part in parts:
            child = folder.children.get(part)
            if not isinstance(child, Folder):
                if child is not None:
                    removed[child.path] = child
                child = folder.children[part] = Folder()
            folder = child
        return folder, base


def _access(entry: LayerEntry) -> tuple[int, int, int]:
    return entry.mode, entry.uid, entry.gid


def analyze(layers: Sequence[tuple[str, str, Iterable[LayerEntry]]]) -> Analysis:
    """The analysis of layers (diffID, command, entries), the lowest first."""
    merged = Merged()
    reports = []
    files: dict[bytes, FileReport] = {}
    seen: dict[bytes, int] = {}  # bytes of what is at a path now
    for diff_id, command, entries in layers:
        report = LayerReport(diff_id, command)
        report.changes = merged.apply(entries)
        for change in report.changes:
            _count(report, change, files, seen)
        reports.append(report)
    worst = [file for file in files.values() if file.copies > 1]
    worst.sort(key=lambda file: (-file.wasted, -file.bytes, file.path))
    everything = sum(file.bytes for file in files.values())
    efficiency = sum(file.smallest for file in files.values()) / everything if everything else 1.0
    size = sum(report.size for report in reports)
    user_size = size - (reports[0].size if reports else 0)
    return Analysis(reports, worst, size, user_size, sum(file.wasted for file in worst), efficiency)


def _count(report: LayerReport, change: Change, files: dict[bytes, FileReport], seen: dict[bytes, int]) -> None:
    if change.entry is not None and change.entry.kind == _DIRECTORY:
        return
    file = files.get(change.path)
    if file is None:
        file = files[change.path] = FileReport(change.path)
    file.wasted += seen.pop(change.path, 0)
    if change.kind == REMOVED:
        report.removed.count(change.size)
        file.add(0)
        return
    (report.added if change.kind == ADDED else report.changed).count(change.size)
    report.size += change.size
    file.add(change.size)
    seen[change.path] = change.size


def analyze_image(store: Store, image: Image) -> Analysis:
    """The analysis of an image of the store. Raises StorageError where a layer is damaged."""
    commands = commands_of(image)
    return analyze(
        [
            (diff_id, command, layer_entries(store, diff_id))
            for diff_id, command in zip(image.diff_ids, commands, strict=True)
        ]
    )


def commands_of(image: Image) -> list[str]:
    """What made each layer, by the history of the image; "" for layers that it does not explain, which come first."""
    told = [step for step in image.config.get("history") or [] if not step.get("empty_layer")]
    commands = [str(step.get("created_by") or "") for step in told][-len(image.diff_ids) :] if image.diff_ids else []
    return [""] * (len(image.diff_ids) - len(commands)) + commands
