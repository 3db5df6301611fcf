"""From what the user types to an image of the store: the only query path of `run`, `create`, `inspect` and the rest."""

from __future__ import annotations

from rootless.jsontext import loads
from storage.references import names_registry, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from storage.references import Reference
    from storage.sqlite import Connection

_HEX = frozenset("0123456789abcdef")
_SHORTEST_PREFIX = 3

_COLUMNS = """SELECT i.id, i.config, i.manifest_digest, i.size, i.created,
 (SELECT group_concat(name, x'0a') FROM image_names WHERE image_id = i.id) FROM images i """


class Image:
    """One image. `id` and `diff_ids` (lowest layer first) are hex; `digest` is the manifest's, with "sha256:".

    `config` is the parsed configuration; `size` is bytes of the extracted layers; `created` is RFC 3339 or "".
    """

    __slots__ = ("config", "created", "diff_ids", "digest", "id", "names", "size")

    def __init__(self, id: str, config: dict[str, Any], names: list[str], digest: str, size: int, created: str) -> None:
        self.id = id
        self.config = config
        self.diff_ids = [digest.partition(":")[2] for digest in config["rootfs"]["diff_ids"]]
        self.names = names
        self.digest = digest
        self.size = size
        self.created = created


def _image(row: tuple[Any, ...]) -> Image:
    return Image(row[0], loads(row[1]), (row[5] or "").split("\n") if row[5] else [], row[2], row[3], row[4])


def find_image(connection: Connection, reference: str) -> Image | None:
    """The image that `reference` names, or None. Tried in this order: a full id (with or without "sha256:"), a name
    (Docker's normalisation; then "localhost/", as Podman names what it builds; then the registries that registries.conf
    searches), name@digest, a unique prefix of an id (3 digits or more). A manifest list stands for the image of this
    machine's platform.

    Raises UsageError for text that is no reference, ConflictError where a prefix fits several images.
    """
    text = reference.removeprefix("sha256:")
    is_hex = _HEX.issuperset(text)
    if len(text) == 64 and is_hex:
        row = connection.execute(_COLUMNS + "WHERE i.id = ?", (text,)).fetchone()
        return _image(row) if row else _of_list(connection, reference)
    if text is reference:
        row = _by_name(connection, parse(reference))
        if row is None and not names_registry(reference):
            row = _by_short_name(connection, reference)
        if row:
            return _image(row)
    if is_hex and len(text) >= _SHORTEST_PREFIX:
        rows = connection.execute(_COLUMNS + "WHERE i.id >= ? AND i.id < ? LIMIT 5", (text, text + "g")).fetchall()
        if len(rows) > 1:
            from rootless.errors import ConflictError

            found = ", ".join(row[0][:12] for row in rows[:4]) + (", ..." if len(rows) > 4 else "")
            raise ConflictError(f"looking up image {reference}: several ids begin so: {found}", "give more digits")
        if rows:
            return _image(rows[0])
    return _of_list(connection, reference)


def _of_list(connection: Connection, reference: str) -> Image | None:
    """The image for this machine of a manifest list."""
    if connection.execute("SELECT 1 FROM manifest_lists LIMIT 1").fetchone() is None:
        return None
    from storage.list_lookup import image_of_list

    image_id = image_of_list(connection, reference)
    return find_image(connection, image_id) if image_id else None


def need_image(connection: Connection, reference: str) -> Image:
    """As `find_image`; raises NotFoundError where there is none."""
    image = find_image(connection, reference)
    if image is None:
        from rootless.errors import NotFoundError
        from storage.list_lookup import find_list

        if find_list(connection, reference):
            raise NotFoundError(
                f"{reference}: the manifest list has no image for this machine here",
                f"rootless manifest inspect {reference} shows what it lists",
            )
        raise NotFoundError(f"{reference}: no such image here", "`rootless images` lists what there is")
    return image


def _by_name(connection: Connection, wanted: Reference) -> tuple[Any, ...] | None:
    if wanted.digest:
        name = wanted.name
        clause = (
            "WHERE i.id IN (SELECT image_id FROM image_digests WHERE name = ?"
            " UNION SELECT n.image_id FROM image_names n JOIN images m"
            " ON m.id = n.image_id WHERE n.name >= ? AND n.name < ? AND m.manifest_digest = ?) LIMIT 1"
        )
        values: tuple[str, ...] = (f"{name}@{wanted.digest}", name + ":", name + ";", wanted.digest)
    else:
        clause = "WHERE i.id = (SELECT image_id FROM image_names WHERE name = ?)"
        values = (wanted.tagged,)
    row: tuple[Any, ...] | None = connection.execute(_COLUMNS + clause, values).fetchone()
    return row


def _by_short_name(connection: Connection, reference: str) -> tuple[Any, ...] | None:
    row = _by_name(connection, parse(f"localhost/{reference}"))
    if row:
        return row
    from storage.settings.registries_conf import load

    for candidate in load().candidates(reference, local=True):
        row = _by_name(connection, candidate)
        if row:
            return row
    return None
