"""Collecting what no image, container or manifest list refers to: layers, blobs, and what killed processes left behind.

Safe beside pulls, loads and other collectors. What is garbage is decided, and disappears from its place by one rename,
within a write transaction (see storage.lease). Deleting the files comes afterwards and may be interrupted anywhere:
`LayerStore.sweep` goes on with it.

A blob goes in a transaction of its own, after the one that has deleted its row: wherever we are killed, no row names a
blob that is not there. (A row without its layer does no harm: `LayerStore.has` looks at the directory.) The same holds
where the power goes: what was deleted before is on the disk (`sync_log`) when the first directory moves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from rootless.faults import step
from storage.blobs import remove_parts, remove_unlocked
from storage.database import sync_log, transaction
from storage.drivers.bases import unused as unused_bases
from storage.layers.names import copies
from storage.lease import live_leases
from storage.sqlite import Connection
from storage.store import Store

_UNREFERENCED = """SELECT diff_id, size, blob, blob_size FROM layers l
 WHERE NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM manifest_list_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM leases WHERE digest = l.diff_id OR digest = l.blob)"""

# One that is used and has lost its row is damage, not garbage: `system check --repair` finds its sizes out anew.
KNOWN_LAYERS = """SELECT diff_id FROM layers UNION SELECT diff_id FROM image_layers
 UNION SELECT diff_id FROM container_layers UNION SELECT diff_id FROM manifest_list_layers"""

_NEEDED_AGAIN = "SELECT 1 FROM layers WHERE blob = ? UNION ALL SELECT 1 FROM leases WHERE digest = ?"


@dataclass(slots=True)
class Freed:
    """What a collection freed: `layers` (diffIDs), `blobs` (digests), `size` in bytes as recorded."""

    layers: list[str] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    size: int = 0


def collect_garbage(store: Store, downloads: bool = False) -> Freed:
    """Remove every layer and blob that nothing refers to, and temporary files of dead processes.

    `downloads`: also what interrupted pulls have left for the next attempt, unless somebody is adding an image.
    """
    layout = store.layout
    store.layers.sweep()
    freed = Freed()
    moved: list[str] = []
    with transaction(store.db) as db:
        sync_log(db)
        # Listed before the leases are: whatever is seen here belongs to a lease that is seen then, or has its row.
        layers = os.listdir(layout.layers)
        blobs = os.listdir(layout.blobs)
        leases = live_leases(store, db)
        for diff_id, size, blob, blob_size in db.execute(_UNREFERENCED).fetchall():
            db.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))
            for name in copies(diff_id):
                _move_away(store, layout.layer(name), moved)
            freed.layers.append(diff_id)
            freed.size += size + (blob_size or 0)
            if blob:
                freed.blobs.append(blob)
        leased = {digest for (digest,) in db.execute("SELECT digest FROM leases")}
        for name in unused_bases(layout, image_chains(db)):
            if name.partition(".")[0] in leased:
                continue
            _move_away(store, f"{layout.bases}/{name}", moved)
        if not leases:
            _sweep(store, db, layers, set(blobs).difference(freed.blobs), moved)
            if downloads:
                remove_parts(layout, 0)
        step("garbage-moved")
    step("garbage-recorded")
    if freed.blobs:
        with transaction(store.db) as db:
            sync_log(db)
            for blob in freed.blobs:
                if db.execute(_NEEDED_AGAIN, (blob, blob)).fetchone() is None:
                    _move_away(store, layout.blob(blob), moved)
            step("garbage-blobs-moved")
    step("garbage-to-delete")
    for path in moved:
        store.layers.delete_unlocked(path)
    return freed


def image_chains(db: Connection) -> list[list[str]]:
    """The layers (diffIDs, lowest first) of each image."""
    chains: dict[str, list[str]] = {}
    for image_id, diff_id in db.execute("SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position"):
        chains.setdefault(image_id, []).append(diff_id)
    return list(chains.values())


def _move_away(store: Store, path: str, moved: list[str]) -> None:
    place = f"{store.layout.tmp}/gone-{os.urandom(8).hex()}"
    try:
        os.rename(path, place)
    except FileNotFoundError:
        return  # no such copy, or another collector was faster, or killed between the rename and the commit
    moved.append(place)


def _sweep(store: Store, db: Connection, layers: list[str], blobs: set[str], moved: list[str]) -> None:
    """Take away what has no row: nobody is adding anything, so a killed process left it."""
    known = {row[0] for row in db.execute(KNOWN_LAYERS)}
    for name in layers:
        if name.partition(".")[0] not in known:
            _move_away(store, store.layout.layer(name), moved)
    known = {row[0] for row in db.execute("SELECT blob FROM layers WHERE blob IS NOT NULL")}
    for name in blobs:
        if name not in known:
            _move_away(store, store.layout.blob(name), moved)
    for name in os.listdir(store.layout.tmp):
        if name.startswith("blob-"):
            remove_unlocked(f"{store.layout.tmp}/{name}")
