"""What killed processes have left behind and nobody has swept yet, once it is older than somebody says.

What an interrupted pull goes on with is none: it stays for a week on purpose.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator

from storage.blobs import RESUMABLE_SECONDS
from storage.store import Store
from storage.upkeep.check import LEFTOVER, VOLUME, Damage
from storage.upkeep.garbage import KNOWN_LAYERS
from storage.volumes.marks import MAKING

UNKNOWN_VOLUME = "unknown volume"
_SWEEP = "rootless system check --repair (deletes it)"

_UNUSED = """SELECT diff_id FROM layers l WHERE created < ?
 AND NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM manifest_list_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM leases WHERE digest = l.diff_id)"""


def check_leftovers(store: Store, age: float) -> Iterator[Damage]:
    """Leftovers older than `age` seconds; volumes without a row, whatever their age."""
    layout, limit = store.layout, time.time() - age
    leases = f"{layout.root}/leases"
    busy = any(is_locked(f"{leases}/{name}") for name in _names(leases))
    for name in _names(layout.tmp):
        path = f"{layout.tmp}/{name}"
        patience = RESUMABLE_SECONDS if name.endswith(".partial") else age
        if _is_old(path, time.time() - patience) and not is_locked(path):
            yield Damage(LEFTOVER, path, ["a killed command has left it"], _SWEEP)
    for name in _names(leases):
        path = f"{leases}/{name}"
        # the next collection finds out whether what a directory stands for is mounted
        if _is_old(path, limit) and not os.path.isdir(path) and not is_locked(path):
            yield Damage(LEFTOVER, path, ["the command that held this lease is dead"], _SWEEP)
    held = set(_names(leases))
    for (token,) in store.db.execute("SELECT DISTINCT token FROM leases").fetchall():
        if token not in held:
            yield Damage(LEFTOVER, f"lease {token}", ["the command that held it is dead"], _SWEEP)
    if not busy:
        yield from _without_row(store, limit)
        for (diff_id,) in store.db.execute(_UNUSED, (limit,)).fetchall():
            yield Damage(LEFTOVER, layout.layer(diff_id), ["no image and no container has this layer"], _SWEEP)
    known = {row[0] for row in store.db.execute("SELECT name FROM volumes")}
    for name in _names(layout.volumes):
        if name in known:
            continue
        if os.path.lexists(f"{layout.volume(name)}/{MAKING}"):
            if _is_old(layout.volume(name), limit):
                yield Damage(LEFTOVER, layout.volume(name), ["its `volume create` was killed"], _SWEEP)
        else:
            what = ["the volume is not in the database"]
            mend = "rootless system check --repair (it becomes a volume again)"
            yield Damage(VOLUME, name, what, mend, key=UNKNOWN_VOLUME)


def _without_row(store: Store, limit: float) -> Iterator[Damage]:
    queries = ((store.layout.layers, KNOWN_LAYERS), (store.layout.blobs, "SELECT blob FROM layers"))
    for directory, query in queries:
        known = {row[0] for row in store.db.execute(query)}
        for name in _names(directory):
            path = f"{directory}/{name}"
            if name.partition(".")[0] not in known and _is_old(path, limit):
                yield Damage(LEFTOVER, path, ["the database does not know it"], _SWEEP)


def is_locked(path: str) -> bool:
    """Whether a living process holds the lock of a lease, or of something in tmp/."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _is_old(path: str, limit: float) -> bool:
    try:
        return os.lstat(path).st_mtime <= limit
    except OSError:
        return False  # just gone


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
