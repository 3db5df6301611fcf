"""Images: their configurations, their manifests, and the lists of their layers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rootless.errors import RootlessError
from rootless.jsontext import loads
from storage.documents.config import digest_hex, parse_config
from storage.sqlite import Connection
from storage.upkeep.check import IMAGE, Damage

LAYER_LIST = "layer list"
LOST = "lost"


def names_of(connection: Connection, image_id: str) -> str:
    """How to call an image: its first name, or its id."""
    row = connection.execute("SELECT min(name) FROM image_names WHERE image_id = ?", (image_id,)).fetchone()
    return str(row[0] or image_id[:12])


def users_of_layer(connection: Connection, diff_id: str) -> list[str]:
    """What the images and manifest lists are called that have the layer."""
    query = """SELECT image_id FROM image_layers WHERE diff_id = ?1
     UNION SELECT list_id FROM manifest_list_layers WHERE diff_id = ?1"""
    rows = connection.execute(query, (diff_id,)).fetchall()
    return sorted(names_of(connection, image_id) for (image_id,) in rows)


def check_images(connection: Connection) -> Iterator[Damage]:
    """What is wrong with each image."""
    rows = connection.execute("SELECT id FROM images ORDER BY id").fetchall()
    for (image_id,) in rows:
        name = names_of(connection, image_id)
        config, manifest, digest = connection.execute(
            "SELECT config, manifest, manifest_digest FROM images WHERE id = ?", (image_id,)
        ).fetchone()
        lost = _lost(image_id, config, bytes(manifest), digest)
        if lost:
            mend = "rootless system check --repair --force (removes the image), then pull or load it again"
            yield Damage(IMAGE, image_id, lost, mend, [name], LOST)
            continue
        listed = connection.execute(
            "SELECT position, diff_id FROM image_layers WHERE image_id = ? ORDER BY position", (image_id,)
        ).fetchall()
        if listed != list(enumerate(wanted_layers(config))):
            what = ["the list of its layers is not that of its configuration"]
            yield Damage(IMAGE, image_id, what, "rootless system check --repair", [name], LAYER_LIST)


def _lost(image_id: str, config: str, manifest: bytes, digest: str) -> list[str]:
    what = []
    if hashlib.sha256(config.encode()).hexdigest() != image_id:
        what.append("its configuration is not the one that its id names")
    else:
        try:
            wanted_layers(config)
        except RootlessError as error:
            what.append(error.message)
    if "sha256:" + hashlib.sha256(manifest).hexdigest() != digest:
        what.append("its manifest does not have its digest")
    else:
        try:
            loads(manifest)
        except ValueError as error:
            what.append(f"its manifest cannot be read: {error}")
    return what


def wanted_layers(config: str) -> list[str]:
    """The layers (diffIDs in hex, lowest first) that a configuration lists. Raises ImageError."""
    parsed = parse_config(config.encode(), "reading its configuration")
    return [digest_hex(diff_id, "reading its configuration") for diff_id in parsed["rootfs"]["diff_ids"]]
