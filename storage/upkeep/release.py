"""Letting go of kept blobs: the compressed form in which layers came.

A layer is rebuilt out of its files and its record, so its blob can go. What is lost is that an image is pushed byte for
byte as it came (it is compressed anew, under other digests), and that a damaged layer heals without a registry. So it
is done only when asked for, and only for a layer that has just been rebuilt and is whole.

The row lets go first, the file follows: wherever we are killed, no row names a blob that is not there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from rootless.errors import RootlessError, StorageError
from rootless.faults import step
from storage.database import sync_log, transaction
from storage.lease import Lease
from storage.store import Store


@dataclass(slots=True)
class Released:
    """Digests (hex) of the blobs that went, their bytes, and what kept others."""

    blobs: list[str] = field(default_factory=list)
    size: int = 0
    failures: list[RootlessError] = field(default_factory=list)


def release_blobs(store: Store) -> Released:
    """Let go of every blob that nobody is reading and whose layer can be rebuilt; those of damaged layers stay."""
    released = Released()
    rows = store.db.execute("SELECT diff_id, blob FROM layers WHERE blob IS NOT NULL ORDER BY diff_id").fetchall()
    sink = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for diff_id, blob in rows:
            try:
                with Lease(store) as lease:
                    lease.protect([diff_id])
                    store.layers.rebuild(diff_id, sink)
                    _release(store, diff_id, blob, released)
            except RootlessError as error:
                what = f"letting go of the blob {blob[:12]}: its layer {diff_id[:12]} is damaged: {error.message}"
                released.failures.append(StorageError(what, "rootless system check --repair"))
    finally:
        os.close(sink)
    return released


_FORGET = """UPDATE layers SET blob = NULL, blob_size = NULL, media_type = NULL WHERE diff_id = ?1 AND blob = ?2
 AND NOT EXISTS (SELECT 1 FROM leases WHERE digest = ?2)"""
_NEEDED = "SELECT 1 FROM layers WHERE blob = ?1 UNION ALL SELECT 1 FROM leases WHERE digest = ?1"


def _release(store: Store, diff_id: str, blob: str, released: Released) -> None:
    with transaction(store.db) as db:
        if db.execute(_FORGET, (diff_id, blob)).rowcount == 0:
            return  # a save or a push is reading it
    step("blob-forgotten")
    path, place = store.layout.blob(blob), f"{store.layout.tmp}/gone-{os.urandom(8).hex()}"
    with transaction(store.db) as db:
        sync_log(db)
        if db.execute(_NEEDED, (blob,)).fetchone() is not None:
            return  # somebody has brought it again meanwhile, or another layer has it
        try:
            size = os.stat(path).st_size
            os.rename(path, place)
        except FileNotFoundError:
            return
    step("blob-moved")
    store.layers.delete_unlocked(place)
    released.blobs.append(blob)
    released.size += size
