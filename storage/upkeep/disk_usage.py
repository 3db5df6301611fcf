"""What the images of a store take on the disk, and what of it could be had back.

A layer that several images share counts once. Sizes are those of the files, as recorded when they were extracted; kept
blobs, which are the same content compressed, are counted beside them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from storage.images.listing import ListedImage, list_images
from storage.sqlite import Connection
from storage.store import Store


@dataclass(frozen=True, slots=True)
class ImageSpace:
    """`shared`: bytes of its layers that other images have too; `unique`: of those that only it has."""

    image: ListedImage
    shared: int
    unique: int


@dataclass(frozen=True, slots=True)
class Blob:
    """A kept blob, by digest and layer (hex), with its size in bytes; `needed` where an image, a container or a
    manifest list has the layer."""

    digest: str
    diff_id: str
    media_type: str
    size: int
    needed: bool


@dataclass(frozen=True, slots=True)
class LayerSpace:
    """Bytes of all layers, and of those that neither a container nor an image with containers stands on."""

    size: int
    reclaimable: int


_UNUSED = """SELECT coalesce(sum(size), 0) FROM layers l
 WHERE NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = l.diff_id)
 AND NOT EXISTS (SELECT 1 FROM image_layers JOIN containers USING (image_id) WHERE diff_id = l.diff_id)"""

_OF_IMAGES = """SELECT image_id, l.diff_id, size,
 (SELECT count(DISTINCT image_id) FROM image_layers WHERE diff_id = l.diff_id)
 FROM (SELECT DISTINCT image_id, diff_id FROM image_layers) i JOIN layers l ON l.diff_id = i.diff_id"""


def layer_space(connection: Connection) -> LayerSpace:
    """What all layers take."""
    size = connection.execute("SELECT coalesce(sum(size), 0) FROM layers").fetchone()[0]
    return LayerSpace(size, connection.execute(_UNUSED).fetchone()[0])


def image_space(connection: Connection) -> list[ImageSpace]:
    """What each image takes, the newest first."""
    shared: dict[str, int] = {}
    unique: dict[str, int] = {}
    for image_id, _, size, owners in connection.execute(_OF_IMAGES):
        kind = shared if owners > 1 else unique
        kind[image_id] = kind.get(image_id, 0) + size
    return [
        ImageSpace(image, shared.get(image.id, 0), unique.get(image.id, 0))
        for image in list_images(connection, with_config=True)
    ]


def kept_blobs(connection: Connection) -> list[Blob]:
    """The compressed blobs that the store keeps beside the extracted layers, the largest first."""
    query = """SELECT blob, diff_id, coalesce(media_type, ''), coalesce(blob_size, 0),
     EXISTS (SELECT 1 FROM image_layers WHERE diff_id = l.diff_id
      UNION ALL SELECT 1 FROM container_layers WHERE diff_id = l.diff_id
      UNION ALL SELECT 1 FROM manifest_list_layers WHERE diff_id = l.diff_id)
     FROM layers l WHERE blob IS NOT NULL ORDER BY blob_size DESC, blob"""
    return [Blob(row[0], row[1], row[2], row[3], bool(row[4])) for row in connection.execute(query)]


def interrupted_downloads(store: Store) -> list[int]:
    """Bytes of each download that was cut off and that the next pull goes on with."""
    sizes = []
    with os.scandir(store.layout.tmp) as entries:
        for entry in entries:
            if entry.name.endswith(".partial"):
                try:
                    sizes.append(entry.stat(follow_symlinks=False).st_size)
                except FileNotFoundError:
                    continue  # its pull has just ended
    return sizes
