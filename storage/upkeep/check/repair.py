"""Mending what `storage.upkeep.check` has found, without losing anything: what cannot be had back is left, and said."""

from __future__ import annotations

import os
from collections.abc import Callable

from rootless.errors import RootlessError, StorageError
from storage.database import transaction
from storage.store import Store
from storage.upkeep.check import BLOB, DATABASE, IMAGE, LAYER, LEFTOVER, LIST, VOLUME, Damage
from storage.upkeep.check.content import ATTRIBUTES
from storage.upkeep.check.database import DANGLING, MISSING_LAYER, dangling_in
from storage.upkeep.check.extract_again import extract_again, record_again
from storage.upkeep.check.images import LAYER_LIST, wanted_layers
from storage.upkeep.check.leftovers import UNKNOWN_VOLUME, is_locked
from storage.upkeep.check.lists import MEMBER_LAYERS, mend_layers
from storage.upkeep.garbage import collect_garbage
from storage.volumes.rows import drop_half_made

_ORDER = (DATABASE, IMAGE, LIST, LAYER, BLOB, VOLUME, LEFTOVER)


def repair(store: Store, damages: list[Damage]) -> None:
    """Mend what can be mended and mark it; what fails is added to what is wrong."""
    handlers: dict[str, Callable[[Store, Damage], bool]] = {
        DATABASE: _database,
        IMAGE: _image,
        LIST: _list,
        LAYER: _layer,
        BLOB: _blob,
        VOLUME: _volume,
        LEFTOVER: _leftover,
    }
    for kind in _ORDER:
        for damage in damages:
            if damage.kind != kind or damage.mended:
                continue
            try:
                damage.mended = handlers[kind](store, damage)
            except (RootlessError, OSError) as error:
                damage.what.append(f"not mended: {error}")
                if isinstance(error, RootlessError) and error.hint and kind == LAYER:
                    damage.mend = f"{error.hint}; {damage.mend}" if error.hint.startswith("rootless ") else damage.mend
    if any(damage.kind == LEFTOVER for damage in damages):
        collect_garbage(store)


def _database(store: Store, damage: Damage) -> bool:
    if damage.key == MISSING_LAYER:
        record_again(store, damage.name)
        return True
    if damage.key.startswith(DANGLING):
        _, table, column = damage.key.split(":")
        with transaction(store.db) as db:
            db.execute(f"DELETE FROM {table} {dangling_in(table, column)} AND {column} = ?", (damage.name,))
        return True
    return False


def _image(store: Store, damage: Damage) -> bool:
    if damage.key != LAYER_LIST:
        return False
    with transaction(store.db) as db:
        (config,) = db.execute("SELECT config FROM images WHERE id = ?", (damage.name,)).fetchone()
        db.execute("DELETE FROM image_layers WHERE image_id = ?", (damage.name,))
        db.executemany(
            "INSERT INTO image_layers VALUES (?, ?, ?)",
            [(damage.name, position, diff_id) for position, diff_id in enumerate(wanted_layers(config))],
        )
    return True


def _list(store: Store, damage: Damage) -> bool:
    if damage.key != MEMBER_LAYERS:
        return False
    mend_layers(store, damage.name)
    return True


def _layer(store: Store, damage: Damage) -> bool:
    extract_again(store, damage.name, own_tar_first=damage.key == ATTRIBUTES)
    return True


def _blob(store: Store, damage: Damage) -> bool:
    """Let go of it: the row first, then the file."""
    query = "UPDATE layers SET blob = NULL, blob_size = NULL, media_type = NULL WHERE blob = ?"
    with transaction(store.db) as db:
        db.execute(query, (damage.name,))
    place = f"{store.layout.tmp}/gone-{os.urandom(8).hex()}"
    try:
        os.rename(store.layout.blob(damage.name), place)
    except FileNotFoundError:
        return True
    store.layers.delete_unlocked(place)
    return True


def _volume(store: Store, damage: Damage) -> bool:
    """Make it a volume again: what is in it may be all that somebody has."""
    if damage.key != UNKNOWN_VOLUME:
        return False
    created = os.lstat(store.layout.volume(damage.name)).st_mtime
    with transaction(store.db) as db:
        db.execute("INSERT OR IGNORE INTO volumes (name, created) VALUES (?, ?)", (damage.name, created))
    return True


def _leftover(store: Store, damage: Damage) -> bool:
    """Delete it where it lies in tmp/ and has no owner, or is half a volume; the collector that comes afterwards takes
    the rest."""
    directory, _, name = damage.name.rpartition("/")
    if directory == store.layout.volumes:
        drop_half_made(store, name)
        return True
    if damage.name.startswith(store.layout.tmp + "/") and os.path.lexists(damage.name):
        if is_locked(damage.name):
            raise StorageError("somebody is at work on it")
        store.layers.delete(damage.name)
    return True
