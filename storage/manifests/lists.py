"""Manifest lists of the store: rows of their own, whose names stand among the images' names.

A list keeps its members alive: what it needs of an image (configuration, manifest, layers) it refers to by itself, so
that the image may be removed. A member that only a registry has is kept as the reference to it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rootless.errors import ConflictError, ImageError, NotFoundError, UsageError
from rootless.jsontext import dumps, loads
from storage.database import transaction
from storage.documents.config import digest_hex
from storage.documents.index import Entry, Index, digest_of, new_index, oci_bytes, with_annotations, with_entry
from storage.lookup import Image, find_image
from storage.references import names_registry, parse
from storage.sqlite import Connection
from storage.store import Store

_SHORTEST_PREFIX = 3


@dataclass(frozen=True, slots=True)
class ManifestList:
    """A list. `id` in hex; `index` as `storage.documents.index` has it; `created` in Unix seconds."""

    id: str
    index: Index
    names: list[str]
    created: float

    @property
    def digest(self) -> str:
        """Of the index as OCI writes it, with "sha256:"."""
        return digest_of(oci_bytes(self.index))


@dataclass(frozen=True, slots=True)
class NewMember:
    """Something to be listed: its entry, and where it is: `image_id` of this store, a member of the list `list_id`
    already, or `source` ("docker://host/repository@sha256:...")."""

    entry: Entry
    image_id: str | None = None
    source: str = ""
    list_id: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """Where an entry is to be had: `source` as in `NewMember`, or the documents of an image of this store."""

    digest: str
    source: str
    config: bytes
    manifest: bytes
    manifest_type: str


def list_name(text: str) -> str:
    """The name as it is stored of a list called `text`: short names are localhost's, as Podman has it. UsageError."""
    meant = parse(text)
    if meant.digest:
        raise UsageError(f"naming a manifest list {text}: a name has a tag, not a digest", "leave @sha256:... away")
    return meant.tagged if names_registry(text) else parse(f"localhost/{text}").tagged


def find_list(db: Connection, reference: str) -> ManifestList | None:
    """The list that `reference` names: by name (in the order in which images are looked for), id, or a unique prefix of
    an id. None where there is none, or where an image is meant."""
    text = reference.removeprefix("sha256:")
    is_hex = not text.strip("0123456789abcdef")
    if is_hex and len(text) == 64:
        return _by_id(db, text)
    if text is reference:
        for name in _names(reference):
            row = db.execute("SELECT image_id FROM image_names WHERE name = ?", (name,)).fetchone()
            if row:
                return _by_id(db, row[0])
    if is_hex and len(text) >= _SHORTEST_PREFIX:
        rows = db.execute("SELECT id FROM manifest_lists WHERE id >= ? AND id < ?", (text, text + "g")).fetchmany(2)
        images = db.execute("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 1", (text, text + "g")).fetchone()
        if rows and (images or len(rows) > 1):
            raise ConflictError(f"looking up {reference}: several ids begin so", "give more digits")
        return _by_id(db, rows[0][0]) if rows else None
    return None


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


def _names(reference: str) -> Iterator[str]:
    meant = parse(reference)
    if meant.digest:
        return
    yield meant.tagged
    if not names_registry(reference):
        yield parse(f"localhost/{reference}").tagged
        from storage.settings.registries_conf import load

        for candidate in load().candidates(reference, local=True):
            yield candidate.tagged


def _by_id(db: Connection, list_id: str) -> ManifestList | None:
    row = db.execute("SELECT content, created FROM manifest_lists WHERE id = ?", (list_id,)).fetchone()
    if row is None:
        return None
    names = db.execute("SELECT name FROM image_names WHERE image_id = ? ORDER BY name", (list_id,)).fetchall()
    return ManifestList(list_id, loads(bytes(row[0])), [name for (name,) in names], row[1])


def create_list(
    store: Store, name: str, members: Sequence[NewMember], annotations: dict[str, str], amend: bool = False
) -> str:
    """Make a list of `members` and return its id. With `amend`, where there is one of that name, it gets them too.

    Raises ConflictError where the name is in use, UsageError, NotFoundError (an image has gone meanwhile).
    """
    full = list_name(name)
    with transaction(store.db, durable=True) as db:
        owner = db.execute("SELECT image_id FROM image_names WHERE name = ?", (full,)).fetchone()
        found = _by_id(db, owner[0]) if owner else None
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


def members_of(db: Connection, list_id: str) -> dict[str, Member]:
    """Where the entries of a list are to be had, by digest ("sha256:...")."""
    rows = db.execute(
        "SELECT digest, source, config, manifest, manifest_type FROM manifest_list_members WHERE list_id = ?",
        (list_id,),
    )
    return {
        f"sha256:{digest}": Member(f"sha256:{digest}", source, (config or "").encode(), bytes(manifest or b""), kind)
        for digest, source, config, manifest, kind in rows
    }


def image_of_list(db: Connection, reference: str) -> Image | None:
    """The image for this machine of the list that `reference` names, where it is in this store."""
    member = member_for_host(db, reference)
    return find_image(db, hashlib.sha256(member.config).hexdigest()) if member and member.config else None


def member_for_host(db: Connection, reference: str) -> Member | None:
    """What the list that `reference` names has for this machine; None also where there is no such list."""
    found = find_list(db, reference)
    if found is None:
        return None
    from storage.documents.manifests import parse_manifest
    from storage.documents.platform_choice import choose
    from storage.platforms import host_platform

    index = parse_manifest(oci_bytes(found.index), "", reference)
    try:
        chosen = choose(index, host_platform(), reference)  # type: ignore[arg-type]
    except ImageError:
        return None
    return members_of(db, found.id).get(f"sha256:{chosen.descriptor.digest}")
