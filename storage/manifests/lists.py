"""Manifest lists of the store: rows of their own, whose names stand among the images' names.

A list keeps its members alive: what it needs of an image (configuration, manifest, layers) it refers to by itself, so
that the image may be removed. A member that only a registry has is kept as the reference to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rootless.errors import ConflictError, NotFoundError
from rootless.jsontext import dumps
from storage.database import transaction
from storage.documents.config import digest_hex
from storage.documents.index import Entry, Index, new_index, with_annotations, with_entry
from storage.list_lookup import ManifestList, find_list, list_by_id, list_name
from storage.lookup import find_image
from storage.sqlite import Connection
from storage.store import Store


@dataclass(frozen=True, slots=True)
class NewMember:
    """Something to be listed: its entry, and where it is: `image_id` of this store, a member of the list `list_id`
    already, or `source` ("docker://host/repository@sha256:...")."""

    entry: Entry
    image_id: str | None = None
    source: str = ""
    list_id: str | None = None


def need_list(db: Connection, reference: str) -> ManifestList:
    """As `find_list`; raises NotFoundError where there is none (exit code 125)."""
    found = find_list(db, reference)
    if found is None:
        if find_image(db, reference):
            raise NotFoundError(
                f"{reference}: that is an image, not a manifest list",
                f"rootless manifest create LIST {reference} makes a list that has it",
                exit_code=125,
            )
        raise NotFoundError(
            f"{reference}: no such manifest list here", f"rootless manifest create {reference}", exit_code=125
        )
    return found


def create_list(
    store: Store, name: str, members: Sequence[NewMember], annotations: dict[str, str], amend: bool = False
) -> str:
    """Make a list of `members` and return its id. With `amend`, where there is one of that name, it gets them too.

    Raises ConflictError where the name is in use, UsageError, NotFoundError (an image has gone meanwhile).
    """
    full = list_name(name)
    with transaction(store.db, durable=True) as db:
        owner = db.execute("SELECT image_id FROM image_names WHERE name = ?", (full,)).fetchone()
        found = list_by_id(db, owner[0]) if owner else None
        if owner and not (amend and found):
            what = "a manifest list" if found else "an image"
            raise ConflictError(
                f"creating the manifest list {full}: {what} has that name ({owner[0][:12]})",
                f"add to it with --amend, or remove it: rootless manifest rm {name}"
                if found
                else "choose another name, or take it from the image: rootless untag",
            )
        if found is None:
            found = ManifestList(os.urandom(32).hex(), new_index(), [full], time.time())
            db.execute("INSERT INTO manifest_lists VALUES (?, ?, ?)", (found.id, b"", found.created))
            db.execute("INSERT INTO image_names VALUES (?, ?)", (full, found.id))
        write_index(db, found.id, _joined(db, found, with_annotations(found.index, annotations), members))
    return found.id


def check_new_name(store: Store, name: str, amend: bool) -> None:
    """What `create_list` would refuse, before anything is fetched for it."""
    full = list_name(name)
    if not amend and store.db.execute("SELECT 1 FROM image_names WHERE name = ?", (full,)).fetchone():
        raise ConflictError(
            f"creating the manifest list {full}: that name is in use",
            f"add to a list with --amend, or remove it: rootless manifest rm {name}",
        )


def edit_list(
    store: Store, reference: str, change: Callable[[Index], Index], members: Iterable[NewMember] = ()
) -> ManifestList:
    """Let `members` into a list and change its index, in one transaction; the list as it is then. NotFoundError."""
    with transaction(store.db, durable=True) as db:
        found = need_list(db, reference)
        index = change(_joined(db, found, found.index, members))
        write_index(db, found.id, index)
    return ManifestList(found.id, index, found.names, found.created)


def _joined(db: Connection, found: ManifestList, index: Index, members: Iterable[NewMember]) -> Index:
    for member in members:
        digest = digest_hex(member.entry["digest"], "adding to a manifest list")
        if member.list_id != found.id:
            _forget_member(db, found.id, digest)
            _refer(db, found.id, digest, member)
        index = with_entry(index, member.entry)
    return index


def _refer(db: Connection, list_id: str, digest: str, member: NewMember) -> None:
    if member.image_id is not None:
        _refer_to_image(db, list_id, digest, member.image_id)
    elif member.list_id is not None:
        _refer_to_member(db, list_id, digest, member.list_id)
    else:
        db.execute(
            "INSERT INTO manifest_list_members (list_id, digest, source) VALUES (?, ?, ?)",
            (list_id, digest, member.source),
        )


def _refer_to_member(db: Connection, list_id: str, digest: str, other_id: str) -> None:
    for table, columns in (
        ("manifest_list_members", "digest, source, config, manifest, manifest_type"),
        ("manifest_list_layers", "digest, diff_id"),
    ):
        db.execute(
            f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE list_id = ? AND digest = ?",
            (list_id, other_id, digest),
        )


def _refer_to_image(db: Connection, list_id: str, digest: str, image_id: str) -> None:
    row = db.execute(
        "SELECT config, manifest, manifest_type, manifest_digest FROM images WHERE id = ?", (image_id,)
    ).fetchone()
    if row is None or row[3] != f"sha256:{digest}":
        raise NotFoundError(f"adding image {image_id[:12]} to a manifest list: it has gone or changed meanwhile")
    db.execute(
        "INSERT INTO manifest_list_members VALUES (?, ?, '', ?, ?, ?)", (list_id, digest, row[0], row[1], row[2])
    )
    db.execute(
        "INSERT OR IGNORE INTO manifest_list_layers SELECT ?, ?, diff_id FROM image_layers WHERE image_id = ?",
        (list_id, digest, image_id),
    )


def write_index(db: Connection, list_id: str, index: Index) -> None:
    """Store the index, and let go of the members that it does not list; within the caller's transaction."""
    db.execute("UPDATE manifest_lists SET content = ? WHERE id = ?", (dumps(index).encode(), list_id))
    listed = {digest_hex(entry["digest"], "a manifest list") for entry in index["manifests"]}
    for (digest,) in db.execute("SELECT digest FROM manifest_list_members WHERE list_id = ?", (list_id,)).fetchall():
        if digest not in listed:
            _forget_member(db, list_id, digest)


def _forget_member(db: Connection, list_id: str, digest: str) -> None:
    for table in ("manifest_list_members", "manifest_list_layers"):
        db.execute(f"DELETE FROM {table} WHERE list_id = ? AND digest = ?", (list_id, digest))


def forget_list(db: Connection, list_id: str) -> None:
    """Delete the rows of a list; within the caller's transaction."""
    db.execute("DELETE FROM image_names WHERE image_id = ?", (list_id,))
    db.execute("DELETE FROM image_digests WHERE image_id = ?", (list_id,))
    for table in ("manifest_list_members", "manifest_list_layers"):
        db.execute(f"DELETE FROM {table} WHERE list_id = ?", (list_id,))
    db.execute("DELETE FROM manifest_lists WHERE id = ?", (list_id,))
