"""What is in a stored layer, read out of its record: no file is opened, so that no user namespace is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from rootless.errors import StorageError
from storage.tar.places import clean
from storage.tar.reader import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, TarReader
from storage.tar.record import headers_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.store import Store

KINDS = {
    FILE: "file",
    HARD_LINK: "hard link",
    SYMLINK: "symlink",
    CHARACTER: "character device",
    BLOCK: "block device",
    DIRECTORY: "directory",
    FIFO: "fifo",
}
WHITEOUT = "whiteout"
OPAQUE = "opaque"

_MARK = b".wh."
_OPAQUE = b".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """One entry. `path` has no slash at its ends; b"" is the root. `kind` is one of KINDS' values, or WHITEOUT (`path`
    is what it takes away from the layers below) or OPAQUE (the directory `path` shows nothing of them). `size`: bytes
    of the file; `stored`: those of them that the layer holds, fewer in sparse files. `mtime` in nanoseconds; `link`:
    where a link leads."""

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    stored: int
    mtime: int
    link: bytes = b""


def layer_entries(store: Store, diff_id: str) -> Iterator[LayerEntry]:
    """The entries of the layer (hex) in the order of its tar. Links in their names are not followed.

    Raises StorageError where the layer is missing or its record is damaged.
    """
    path = store.layout.layer(store.layers.name(diff_id)) + "/record"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"reading {path}: {error.strerror}", "pull or load the image again") from None
    try:
        for entry in TarReader(headers_only(fd)):
            name = clean(entry.name, "name")
            base = name.rpartition(b"/")[2]
            kind = KINDS.get(entry.kind, "unknown")
            if base.startswith(_MARK):
                directory = name[: len(name) - len(base)].rstrip(b"/")
                if base == _OPAQUE:
                    name, kind = directory, OPAQUE
                elif base.startswith(_MARK + _MARK):
                    continue  # notes of other drivers, which mean nothing in a layer
                else:
                    name, kind = (directory + b"/" if directory else b"") + base[len(_MARK) :], WHITEOUT
            marks = kind in (WHITEOUT, OPAQUE)
            size, stored = (0, 0) if marks else (entry.size, entry.stored)
            mode = entry.mode & 0o7777
            yield LayerEntry(name, kind, mode, entry.uid, entry.gid, size, stored, entry.mtime, entry.link)
    finally:
        os.close(fd)
