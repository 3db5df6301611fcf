"""The images of a store for listing: one query, whatever their number; configurations are read only for labels."""

from __future__ import annotations

import time

from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from storage.sqlite import Connection

_QUERY = """SELECT id, manifest_digest, size, created, created_unix,
 (SELECT group_concat(name, x'0a') FROM image_names WHERE image_id = i.id),
 (SELECT group_concat(name, x'0a') FROM image_digests WHERE image_id = i.id),
 (SELECT group_concat(name, x'0a') FROM image_digests WHERE image_id = i.id AND pinned),
 (SELECT count(*) FROM containers WHERE image_id = i.id),
 {} FROM images i ORDER BY created_unix DESC, id"""

_LISTS = """SELECT id, content, created, (SELECT group_concat(name, x'0a') FROM image_names WHERE image_id = l.id)
 FROM manifest_lists l"""


class ListedImage:
    """One image, or manifest list. `id` in hex; `names` sorted; `digests` as "name@sha256:...", of which `pinned` are
    those by which it was pulled; `digest` of the manifest with "sha256:";
    `size` in bytes extracted; `created` RFC 3339 or "", `created_unix` the same in seconds; `containers` made of it;
    `config` is the parsed configuration, {} unless it was asked for."""

    __slots__ = (
        "config",
        "containers",
        "created",
        "created_unix",
        "digest",
        "digests",
        "id",
        "names",
        "pinned",
        "size",
    )

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.id: str = row[0]
        self.digest: str = row[1]
        self.size: int = row[2]
        self.created: str = row[3]
        self.created_unix: float = row[4]
        self.names: list[str] = sorted(row[5].split("\n")) if row[5] else []
        self.digests: list[str] = row[6].split("\n") if row[6] else []
        self.pinned: list[str] = sorted(row[7].split("\n")) if row[7] else []
        self.containers: int = row[8]
        self.config: dict[str, Any] = loads(row[9]) if row[9] else {}

    @property
    def dangling(self) -> bool:
        """Whether nothing names it any more."""
        return not self.names and not self.pinned


def list_images(connection: Connection, with_config: bool = False) -> list[ListedImage]:
    """All images and manifest lists, newest first (by the time in their configuration)."""
    images = [ListedImage(row) for row in connection.execute(_QUERY.format("config" if with_config else "NULL"))]
    lists = connection.execute(_LISTS).fetchall()
    if lists:
        images += [_listed(*row) for row in lists]
        images.sort(key=lambda image: -image.created_unix)
    return images


def _listed(id: str, content: bytes, created: float, names: str | None) -> ListedImage:
    from storage.documents.index import digest_of, oci_bytes

    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    digest = digest_of(oci_bytes(loads(bytes(content))))
    return ListedImage((id, digest, len(content), text, created, names, None, None, 0, None))


def repo_digests(image: ListedImage) -> list[str]:
    """ "name@sha256:..." of the registries that the image came from, and of the names it has now."""
    here = {f"{name.rpartition(':')[0]}@{image.digest}" for name in image.names}
    return sorted(here.union(image.digests))
