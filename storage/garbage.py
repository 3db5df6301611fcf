"""Collecting what no image and no container refers to: layers, blobs, and what killed processes left behind.

Safe beside pulls, loads and other collectors. What is garbage is decided, and moved into tmp/ by rename, within one
write transaction (see storage.lease); deleting the files happens afterwards and may be interrupted at any point.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from storage.database import transaction
from storage.lease import live_leases
from storage.sqlite import Connection
from storage.store import Store

_PREFIX = "removed-"
_STALE_SECONDS = 24 * 3600  # a broken download is worth resuming for a day

_UNREFERENCED = """SELECT diff_id, size, blob, blob_size FROM layers l
 WHERE NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM leases WHERE digest = l.diff_id OR digest = l.blob)"""


@dataclass(slots=True)
class Freed:
    """What a collection freed: `layers` (diffIDs), `blobs` (digests), `size` in bytes as recorded."""

    layers: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    size: int = 0


def collect_garbage(store: Store) -> Freed:
    """Remove every layer and blob that nothing refers to, and temporary files of dead processes."""
    layout = store.layout
    freed = Freed()
    with transaction(store.db) as db:
        # Listed before the leases are: whatever is seen here belongs to a lease that is seen then, or has its row.
        layers = os.listdir(layout.layers)
        blobs = os.listdir(layout.blobs)
        temporary = os.listdir(layout.tmp)
        leases = live_leases(store, db)
        for diff_id, size, blob, blob_size in db.execute(_UNREFERENCED).fetchall():
            db.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
            freed.layers.append(diff_id)
            freed.size += size + (blob_size or 0)
            _move_away(store, layout.layer(diff_id))
            if blob:
                freed.blobs.append(blob)
                _move_away(store, layout.blob(blob))
        if not leases:
            _sweep(store, db, layers, blobs, temporary)
    for name in os.listdir(layout.tmp):
        if name.startswith(_PREFIX):
            delete_tree(store, f"{layout.tmp}/{name}")
    return freed


def _move_away(store: Store, path: str) -> None:
    try:
        os.rename(path, f"{store.layout.tmp}/{_PREFIX}{os.path.basename(path)[:16]}-{os.urandom(4).hex()}")
    except FileNotFoundError:
        pass  # a collector was killed between the rename and the commit


def _sweep(store: Store, db: Connection, layers: list[str], blobs: list[str], temporary: list[str]) -> None:
    """Move away what has no row: nobody is adding anything, so it is what a killed process left."""
    layout = store.layout
    known = {row[0] for row in db.execute("SELECT diff_id FROM layers")}
    for name in layers:
        if name not in known:
            _move_away(store, layout.layer(name))
    known = {row[0] for row in db.execute("SELECT blob FROM layers WHERE blob IS NOT NULL")}
    for name in blobs:
        if name not in known:
            _move_away(store, layout.blob(name))
    oldest = time.time() - _STALE_SECONDS
    for name in temporary:
        path = f"{layout.tmp}/{name}"
        if name.startswith(_PREFIX):
            continue
        try:
            if name.endswith(".partial") and os.lstat(path).st_mtime > oldest:
                continue
        except FileNotFoundError:
            continue
        _move_away(store, path)


def delete_tree(store: Store, path: str) -> None:
    """Delete a file or directory of the store, as ourselves, and within the user namespace what belongs to its ids."""
    from rootless.kernel.files import remove_tree

    try:
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            return
        if remove_tree(path):
            store.user_namespace().run(remove_tree, path)
    except FileNotFoundError:
        pass  # another collector was faster
