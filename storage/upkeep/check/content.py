"""Layers and blobs: what is on the disk against the record, the diffID, the digest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from storage.layers.names import OWNERS, SINGLE, copies
from storage.store import Store
from storage.upkeep.check import BLOB, LAYER, Damage
from storage.upkeep.check.images import users_of_layer
from storage.upkeep.check.work import Task, digest_of, do_all, look_at_layer

MISSING = "missing"
ATTRIBUTES = "attributes"
CONTENT = "content"

REPAIR = "rootless system check --repair (it is extracted again)"
ATTEMPT = "rootless system check --repair (it is extracted again, if its blob or its tar is whole)"
PULL = "rootless system check --repair --force (removes the images and their containers), then pull or load them again"


@dataclass(frozen=True, slots=True)
class _Row:
    diff_id: str
    size: int
    blob: str | None
    blob_size: int | None


def check_content(store: Store, quick: bool, counts: dict[str, int]) -> Iterator[Damage]:
    """What is wrong with each layer and each kept blob, as it is found. `quick`: nothing is read through."""
    query = "SELECT diff_id, size, blob, blob_size FROM layers ORDER BY size DESC, diff_id"
    rows = [_Row(*row) for row in store.db.execute(query)]
    counts[LAYER] = len(rows)
    counts[BLOB] = sum(row.blob is not None for row in rows)
    bad_blobs = set()
    for row in rows:
        damage = _stat_blob(store, row)
        if damage is not None:
            bad_blobs.add(row.blob)
            yield damage
    tasks: list[Task] = []
    if not quick:
        tasks += [
            Task(row.blob, store.layout.blob(row.blob), os.O_RDONLY, digest_of)
            for row in rows
            if row.blob and row.blob not in bad_blobs
        ]
    by_name = {row.diff_id: row for row in rows}
    by_blob = {row.blob: row for row in rows if row.blob}
    for task, result in do_all(store.user_namespace(), tasks):
        if isinstance(result, Exception) or result[0] != task.name:
            bad_blobs.add(task.name)
            what = str(result) if isinstance(result, Exception) else f"its digest is sha256:{result[0][:12]}"
            yield _blob_damage(store, by_blob[task.name], what)
    layers = []
    for row in rows:
        found = [name for name in copies(row.diff_id) if os.path.isdir(store.layout.layer(name))]
        if not found:
            if not _is_used(store, row.diff_id):
                continue  # a killed collector has moved it away, or is about to: the next one forgets the row
            blob_helps = row.blob is not None and row.blob not in bad_blobs
            images = users_of_layer(store.db, row.diff_id)
            mend = REPAIR if blob_helps else PULL
            yield Damage(LAYER, row.diff_id, ["its directory is missing"], mend, images, MISSING)
        layers += [_layer_task(store, name, quick) for name in found if _is_within_reach(store, name)]
    for task, result in do_all(store.user_namespace(), layers):
        row = by_name[task.name.partition(".")[0]]
        damage = _layer_damage(store, task, result, quick, row.blob is not None and row.blob not in bad_blobs)
        if damage is not None:
            yield damage


_USED = """SELECT 1 FROM image_layers WHERE diff_id = ?1 UNION ALL SELECT 1 FROM container_layers WHERE diff_id = ?1
 UNION ALL SELECT 1 FROM manifest_list_layers WHERE diff_id = ?1"""


def _is_used(store: Store, diff_id: str) -> bool:
    return store.db.execute(_USED, (diff_id,)).fetchone() is not None


def _stat_blob(store: Store, row: _Row) -> Damage | None:
    if row.blob is None:
        return None
    try:
        size = os.lstat(store.layout.blob(row.blob)).st_size
    except OSError as error:
        return _blob_damage(store, row, error.strerror or str(error))
    return None if size == row.blob_size else _blob_damage(store, row, f"it has {size} bytes, not {row.blob_size}")


def _blob_damage(store: Store, row: _Row, what: str) -> Damage:
    images = users_of_layer(store.db, row.diff_id)
    mend = "rootless system check --repair (it is let go of; the layer itself is what containers use)"
    return Damage(BLOB, row.blob or "", [what], mend, images, row.diff_id)


def _is_within_reach(store: Store, name: str) -> bool:
    """Whether the ids that are mapped now can read the copy: with one, files of other owners cannot be looked at."""
    if not store.user_map.single or name.endswith(SINGLE):
        return True
    return not os.path.exists(f"{store.layout.layer(name)}/{OWNERS}")


def _layer_task(store: Store, name: str, quick: bool) -> Task:
    diff_id = name.partition(".")[0]
    arguments = (diff_id, name.endswith(SINGLE), _is_used(store, diff_id), quick)
    return Task(name, store.layout.layer(name), os.O_RDONLY | os.O_DIRECTORY, look_at_layer, arguments)


def _layer_damage(store: Store, task: Task, result: Any, quick: bool, blob_helps: bool) -> Damage | None:
    images = users_of_layer(store.db, task.name.partition(".")[0])
    if isinstance(result, Exception):
        return Damage(LAYER, task.name, [str(result)], REPAIR if blob_helps else ATTEMPT, images, CONTENT)
    lines, more, whole = result
    if not lines:
        return None
    if more:
        lines.append(f"and {more} more")
    if whole or blob_helps:
        mend = REPAIR
    else:
        mend = ATTEMPT if quick else PULL
    return Damage(LAYER, task.name, lines, mend, images, ATTRIBUTES if whole else CONTENT)
