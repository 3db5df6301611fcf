"""Loading images from archives into the store; layers that are not here yet are extracted side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.archives.feed import Feed, feed_layers
from storage.archives.formats import ArchivedImage, ArchivedLayer, list_images, read_images
from storage.archives.source import open_source
from storage.events import emit
from storage.images.rows import AddedLayer, add_image, present_layer
from storage.lease import Lease
from storage.progress import Progress
from storage.settings.policy import check_archive
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Loaded:
    """`id` in hex, `names` as in the archive ("docker.io/library/alpine:latest"); an image may have none."""

    id: str
    names: list[str]


def load_archive(store: Store, path: str, progress: Progress | None = None) -> list[Loaded]:
    """Add every image of the archive or directory at `path` ("-": standard input), in the order of the archive.

    Formats: docker-archive, oci-archive, oci-dir, docker-dir; plain, gzip, zstd, xz, bzip2. All is read and checked
    before the first layer is extracted. Raises ImageError, NotFoundError, StorageError, and RegistryError where
    policy.json does not let it in; images that were complete before the error stay.
    """
    progress = progress or Progress()
    source = open_source(path, store.layout.tmp)
    try:
        check_archive(list_images(source)[0], path, f"reading {source.what}")
        images = read_images(source)
        with Lease(store) as lease:
            loaded = add_archived(store, lease, images, progress)
    finally:
        source.close()
    for image in loaded:
        emit(store, "image", "loadfromarchive", image.id, path)
    return loaded


def add_archived(store: Store, lease: Lease, images: Sequence[ArchivedImage], progress: Progress) -> list[Loaded]:
    """Extract the layers of these images that are not here yet, and record the images under the names that they have.

    The archive stays open meanwhile. Raises ImageError, StorageError.
    """
    layers = {layer.diff_id: layer for image in images for layer in image.layers}
    lease.protect({*layers, *(layer.digest for layer in layers.values() if layer.digest)})
    missing = []
    known: dict[str, AddedLayer] = {}
    for layer in layers.values():
        present = present_layer(store, layer.diff_id)
        if present:
            known[layer.diff_id] = present
            progress.done(layer.diff_id, "already here")
        else:
            missing.append(_feed(layer))
    known |= feed_layers(store, missing, progress)
    return [_add(store, image, known) for image in images]


def _feed(layer: ArchivedLayer) -> Feed:
    piece = layer.piece
    kept = layer.digest if layer.digest != layer.diff_id else None  # uncompressed: the record rebuilds it
    return Feed(piece.descriptor, piece.offset, piece.size, layer.diff_id, kept, layer.media_type)


def _add(store: Store, image: ArchivedImage, known: dict[str, AddedLayer]) -> Loaded:
    layers = [known[layer.diff_id] for layer in image.layers]
    image_id = add_image(store, image.config, image.manifest, image.manifest_type, layers, image.names)
    return Loaded(image_id, image.names)
