"""What of an image is sent: each layer as its manifest lists it where that is to be had, else as what the store can
give, and the manifest that says so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rootless.errors import ImageError, NotFoundError, UsageError
from rootless.jsontext import dumps, loads
from storage import compress
from storage.documents.config import digest_hex
from storage.documents.manifests import DOCKER_MANIFEST, OCI_MANIFEST
from storage.documents.write import DOCKER_CONFIG, DOCKER_LAYER, OCI_CONFIG, OCI_LAYER, descriptor
from storage.sqlite import Connection
from storage.store import Store

FORMATS = {"oci": OCI_MANIFEST, "v2s2": DOCKER_MANIFEST}
_PIECE = 1 << 16  # small enough for slow lines: each has to be taken within the seconds of storage.registry.http
_DOCKER_ENDINGS = {compress.NONE: "", compress.GZIP: ".gzip"}
_OCI_ENDINGS = {compress.NONE: "", compress.GZIP: "+gzip", compress.ZSTD: "+zstd"}
_FOREIGN = ("nondistributable", ".foreign.")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to push. `format`: "oci", "v2s2" or None, as the image is; `compression` ("gzip", "zstd"): of layers that
    have to be compressed, and where `force` is set (None: where `compression` is asked for) of all; `level` of it."""

    format: str | None = None
    compression: str | None = None
    level: int | None = None
    force: bool | None = None

    @property
    def packing(self) -> str:
        return self.compression or compress.GZIP

    def must_pack(self, packing: str) -> bool:
        """Whether a blob that is compressed so is to be compressed anew."""
        if self.force and (self.compression is None or self.level is not None):
            return True
        forced = self.compression is not None if self.force is None else self.force
        return forced and packing != self.packing


@dataclass(frozen=True, slots=True)
class StoredImage:
    """What is pushed, byte for byte; `diff_ids` (hex) belong to the layers of the manifest. `registered`: a registry
    has given this manifest."""

    config: bytes
    manifest: bytes
    media_type: str
    diff_ids: tuple[str, ...]
    registered: bool


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A blob in a file. `digest` in hex, `size` in bytes."""

    path: str
    digest: str
    size: int

    def pieces(self, start: int) -> Iterator[bytes]:
        """Its bytes from `start` on."""
        with open(self.path, "rb", buffering=0) as file:
            file.seek(start)
            while piece := file.read(_PIECE):
                yield piece


@dataclass(slots=True)
class Layer:
    """One layer. `entry`: its descriptor in the manifest. What is sent is `kept`, a blob that is here; or, where that
    is None, what is made of the files with `packing`. `listed`: before that the registry is asked for what `entry`
    names. `stored`: digest of the blob that the database knows of."""

    diff_id: str
    entry: dict[str, Any]
    kept: BlobFile | None = None
    packing: str | None = None
    listed: bool = False
    stored: str | None = None

    @property
    def listed_digest(self) -> str:
        return str(self.entry["digest"]).removeprefix("sha256:")


def image_of(db: Connection, image_id: str, reference: str) -> StoredImage:
    """The image `image_id` (hex) of the store. Raises NotFoundError where it has gone."""
    row = db.execute(
        "SELECT config, manifest, manifest_type, manifest_digest FROM images WHERE id = ?", (image_id,)
    ).fetchone()
    if row is None:
        raise NotFoundError(f"pushing {reference}: the image has gone meanwhile")
    listed = db.execute("SELECT name FROM image_digests WHERE image_id = ?", (image_id,)).fetchall()
    diff_ids = [digest_hex(digest, reference) for digest in loads(row[0])["rootfs"]["diff_ids"]]
    registered = any(name.endswith("@" + row[3]) for (name,) in listed)
    return StoredImage(row[0].encode(), bytes(row[1]), row[2], tuple(diff_ids), registered)


def target_type(image: StoredImage, recipe: Recipe) -> str:
    """The media type of the manifest to push. Raises UsageError for what Docker's format does not have."""
    if recipe.compression == compress.ZSTD:
        if recipe.format == "v2s2":
            raise UsageError("--format v2s2: Docker's format has no zstd", "--format oci has")
        return OCI_MANIFEST
    return FORMATS[recipe.format] if recipe.format else image.media_type


def plan(store: Store, image: StoredImage, recipe: Recipe, where: str) -> list[Layer]:
    """How each layer is sent, the lowest first. The caller's lease protects them. Raises ImageError, UsageError."""
    kind = target_type(image, recipe)
    entries = loads(image.manifest).get("layers") or []
    if len(entries) != len(image.diff_ids):
        raise ImageError(f"{where}: its manifest lists {len(entries)} layers, and it has {len(image.diff_ids)}")
    return [
        _layer(store, image, diff_id, entry, recipe, kind, where)
        for diff_id, entry in zip(image.diff_ids, entries, strict=True)
    ]


def _layer(
    store: Store, image: StoredImage, diff_id: str, entry: dict[str, Any], recipe: Recipe, kind: str, where: str
) -> Layer:
    media_type = str(entry.get("mediaType"))
    if any(mark in media_type for mark in _FOREIGN):
        raise ImageError(
            f"{where}: the layer sha256:{diff_id[:12]} may not be distributed by registries ({media_type})",
            "rootless save writes the image to an archive",
        )
    row = store.db.execute("SELECT blob FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
    layer = Layer(diff_id, entry, stored=row[0] if row else None)
    kept = _blob_file(store, layer.stored)
    if layer.listed_digest == diff_id:  # not compressed: pulled so it stays so, but what was loaded is packed
        if image.registered and not recipe.must_pack(compress.NONE):
            layer.packing, layer.listed = compress.NONE, kind == image.media_type
            return layer
    elif kept is None and not recipe.force and recipe.compression is None and kind == image.media_type:
        layer.listed = True  # the registry may have what is not here any more
    if kept is not None:
        packing = _packing_of(kept)
        as_listed = kept.digest == layer.listed_digest and kind == image.media_type
        if not recipe.must_pack(packing) and (as_listed or packing in _endings(kind)):
            layer.kept, layer.packing = kept, packing
            return layer
    layer.packing = recipe.packing
    return layer


def _blob_file(store: Store, digest: str | None) -> BlobFile | None:
    if digest is None:
        return None
    path = store.layout.blob(digest)
    try:
        return BlobFile(path, digest, os.stat(path).st_size)
    except FileNotFoundError:
        return None


def _packing_of(blob: BlobFile) -> str:
    with open(blob.path, "rb") as file:
        return compress.detect(file.read(compress.MAGIC_BYTES))


def _endings(kind: str) -> dict[str, str]:
    return _DOCKER_ENDINGS if kind == DOCKER_MANIFEST else _OCI_ENDINGS


def manifest_for(image: StoredImage, kind: str, layers: Sequence[Layer], sent: Sequence[BlobFile | None]) -> bytes:
    """The manifest of media type `kind` for what was sent of each layer (None: what its entry names): the image's own,
    byte for byte, where that says the same."""
    own = loads(image.manifest)
    entries = [_entry(layer, blob, kind, image) for layer, blob in zip(layers, sent, strict=True)]
    if kind == image.media_type and entries == own["layers"]:
        return image.manifest
    if kind == image.media_type:
        return dumps({**own, "layers": entries}).encode()
    digest = str(own["config"]["digest"]).removeprefix("sha256:")
    config = descriptor(OCI_CONFIG if kind == OCI_MANIFEST else DOCKER_CONFIG, digest, len(image.config))
    return dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": entries}).encode()


def _entry(layer: Layer, blob: BlobFile | None, kind: str, image: StoredImage) -> dict[str, Any]:
    if kind == image.media_type and (blob is None or blob.digest == layer.listed_digest):
        return layer.entry
    assert blob is not None
    assert layer.packing is not None
    base = DOCKER_LAYER if kind == DOCKER_MANIFEST else OCI_LAYER
    made = descriptor(base + _endings(kind)[layer.packing], blob.digest, blob.size)
    annotations = layer.entry.get("annotations")
    return {**made, "annotations": annotations} if annotations and kind == OCI_MANIFEST else made
