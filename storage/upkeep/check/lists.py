"""Manifest lists: their indexes, and the documents and layers that they keep of their members."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from rootless.errors import RootlessError
from rootless.jsontext import loads
from storage.database import transaction
from storage.documents.config import digest_hex
from storage.documents.index import without
from storage.sqlite import Connection
from storage.store import Store
from storage.upkeep.check import LIST, Damage
from storage.upkeep.check.images import LOST, names_of, wanted_layers

MEMBER_LAYERS = "layers of members"


def check_lists(connection: Connection) -> Iterator[Damage]:
    """What is wrong with each list."""
    for (list_id,) in connection.execute("SELECT id FROM manifest_lists ORDER BY id").fetchall():
        name = names_of(connection, list_id)
        (content,) = connection.execute("SELECT content FROM manifest_lists WHERE id = ?", (list_id,)).fetchone()
        try:
            listed = {digest_hex(entry["digest"], "its index") for entry in loads(bytes(content))["manifests"]}
        except (RootlessError, ValueError, LookupError, TypeError) as error:
            yield Damage(LIST, list_id, [f"its index cannot be read: {error}"], f"rootless manifest rm {name}", [name])
            continue
        lost, astray = _members(connection, list_id, listed)
        if lost:
            mend = "rootless system check --repair --force (the list goes on without these images)"
            yield Damage(LIST, list_id, lost, mend, [name], LOST)
        elif astray:
            yield Damage(LIST, list_id, astray, "rootless system check --repair", [name], MEMBER_LAYERS)


def chains_of_lists(connection: Connection) -> list[list[str]]:
    """The layers (diffIDs, lowest first) of each image that a list keeps."""
    chains = []
    query = "SELECT config FROM manifest_list_members WHERE config IS NOT NULL"
    for (config,) in connection.execute(query).fetchall():
        try:
            chains.append(wanted_layers(config))
        except RootlessError:
            continue  # `check_lists` tells of it
    return chains


def mend_layers(store: Store, list_id: str) -> None:
    """Write the rows of the layers of a list's members as their configurations have them."""
    with transaction(store.db) as db:
        db.execute("DELETE FROM manifest_list_layers WHERE list_id = ?", (list_id,))
        query = "SELECT digest, config FROM manifest_list_members WHERE list_id = ? AND config IS NOT NULL"
        for digest, config in db.execute(query, (list_id,)).fetchall():
            rows = [(list_id, digest, diff_id) for diff_id in wanted_layers(config)]
            db.executemany("INSERT OR IGNORE INTO manifest_list_layers VALUES (?, ?, ?)", rows)


def drop_members(store: Store, list_id: str, layer: str | None = None) -> None:
    """Take out of a list the images that have `layer`, or without it those whose documents are lost."""
    with transaction(store.db) as db:
        (content,) = db.execute("SELECT content FROM manifest_lists WHERE id = ?", (list_id,)).fetchone()
        index = loads(bytes(content))
        for digest in [digest_hex(entry["digest"], "its index") for entry in index["manifests"]]:
            if _has(db, list_id, digest, layer) if layer else _lost(db, list_id, digest):
                index = without(index, f"sha256:{digest}", "a manifest list")
        from storage.manifests.lists import write_index

        write_index(db, list_id, index)


def _has(db: Connection, list_id: str, digest: str, layer: str) -> bool:
    query = "SELECT 1 FROM manifest_list_layers WHERE list_id = ? AND digest = ? AND diff_id = ?"
    return db.execute(query, (list_id, digest, layer)).fetchone() is not None


def _members(connection: Connection, list_id: str, listed: set[str]) -> tuple[list[str], list[str]]:
    """What is lost of the members, and what can be written anew."""
    lost, astray = [], []
    for digest in sorted(listed):
        lost += [f"of its image sha256:{digest[:12]} {what}" for what in _lost(connection, list_id, digest)]
    if not lost:
        query = "SELECT digest, config FROM manifest_list_members WHERE list_id = ? AND config IS NOT NULL"
        for digest, config in connection.execute(query, (list_id,)).fetchall():
            rows = connection.execute(
                "SELECT diff_id FROM manifest_list_layers WHERE list_id = ? AND digest = ?", (list_id, digest)
            ).fetchall()
            if {diff_id for (diff_id,) in rows} != set(wanted_layers(config)):
                astray.append(f"of its image sha256:{digest[:12]} the list of layers is not that of its configuration")
    return lost, astray


def _lost(connection: Connection, list_id: str, digest: str) -> list[str]:
    row: Any = connection.execute(
        "SELECT source, config, manifest FROM manifest_list_members WHERE list_id = ? AND digest = ?",
        (list_id, digest),
    ).fetchone()
    if row is None:
        return ["nothing is kept"]
    source, config, manifest = row
    if source:
        return []
    if hashlib.sha256(bytes(manifest or b"")).hexdigest() != digest:
        return ["the manifest does not have its digest"]
    try:
        wanted = digest_hex(loads(bytes(manifest))["config"]["digest"], "its manifest")
        wanted_layers(config or "")
    except (RootlessError, ValueError, LookupError, TypeError) as error:
        return [str(error)]
    if hashlib.sha256((config or "").encode()).hexdigest() != wanted:
        return ["the configuration is not the one that its manifest names"]
    return []
