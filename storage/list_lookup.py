"""From what the user types to a manifest list of the store, and to what the list has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from rootless.errors import ConflictError, ImageError, UsageError
from rootless.jsontext import loads
from storage.documents.index import Index, digest_of, oci_bytes
from storage.references import names_registry, parse
from storage.sqlite import Connection

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
        return list_by_id(db, text)
    if text is reference:
        for name in _names(reference):
            row = db.execute("SELECT image_id FROM image_names WHERE name = ?", (name,)).fetchone()
            if row:
                return list_by_id(db, row[0])
    if is_hex and len(text) >= _SHORTEST_PREFIX:
        rows = db.execute("SELECT id FROM manifest_lists WHERE id >= ? AND id < ?", (text, text + "g")).fetchmany(2)
        images = db.execute("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 1", (text, text + "g")).fetchone()
        if rows and (images or len(rows) > 1):
            raise ConflictError(f"looking up {reference}: several ids begin so", "give more digits")
        return list_by_id(db, rows[0][0]) if rows else None
    return None


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


def list_by_id(db: Connection, list_id: str) -> ManifestList | None:
    """The list with this id (hex), or None."""
    row = db.execute("SELECT content, created FROM manifest_lists WHERE id = ?", (list_id,)).fetchone()
    if row is None:
        return None
    names = db.execute("SELECT name FROM image_names WHERE image_id = ? ORDER BY name", (list_id,)).fetchall()
    return ManifestList(list_id, loads(bytes(row[0])), [name for (name,) in names], row[1])


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


def image_of_list(db: Connection, reference: str) -> str | None:
    """The id of the image for this machine of the list that `reference` names; None where no image of it is here."""
    member = member_for_host(db, reference)
    return hashlib.sha256(member.config).hexdigest() if member and member.config else None


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
