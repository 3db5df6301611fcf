"""What is written of an image that leaves the store: which manifest, and for each layer its kept blob or its tar."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rootless.jsontext import dumps, loads
from storage.compress import GZIP
from storage.documents.config import parse_config
from storage.documents.manifests import DOCKER_MANIFEST, OCI_MANIFEST
from storage.documents.write import DOCKER_CONFIG, DOCKER_LAYER, OCI_CONFIG, OCI_LAYER, descriptor
from storage.images.rows import name_meant
from storage.layers.pack import Packing, Turns, keep_for_layer
from storage.lease import Lease
from storage.lookup import Image, need_image
from storage.store import Store


@dataclass(frozen=True, slots=True)
class SavedLayer:
    """What the store has of a layer: its tar (`tar_size` bytes), perhaps its compressed `blob`. Digests in hex."""

    diff_id: str
    tar_size: int
    blob: str | None
    blob_size: int
    media_type: str


@dataclass(slots=True)
class Chosen:
    """An image to save, with the names that were asked for."""

    image: Image
    config: bytes
    manifest: bytes
    manifest_type: str
    layers: list[SavedLayer]
    names: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """A layer as it is written: the kept blob, or (`rebuilt`) the tar. `digest` in hex, `size` in bytes."""

    layer: SavedLayer
    rebuilt: bool

    @property
    def digest(self) -> str:
        return self.layer.diff_id if self.rebuilt or not self.layer.blob else self.layer.blob

    @property
    def size(self) -> int:
        return self.layer.tar_size if self.rebuilt else self.layer.blob_size


@dataclass(frozen=True, slots=True)
class Plan:
    """One image as it will be written; `parts` are its layers, the lowest first."""

    chosen: Chosen
    manifest: bytes
    manifest_type: str
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        """Of the manifest, in hex."""
        return hashlib.sha256(self.manifest).hexdigest()


def choose(store: Store, lease: Lease, references: Sequence[str]) -> list[Chosen]:
    """The images, each once, whose layers the lease protects from now on. An image named by a name carries that name;
    by its id, none. Raises NotFoundError; StorageError where a layer is missing."""
    chosen: dict[str, Chosen] = {}
    for reference in references:
        image = need_image(store.db, reference)
        if image.id not in chosen:
            row = store.db.execute(
                "SELECT config, manifest, manifest_type FROM images WHERE id = ?", (image.id,)
            ).fetchone()
            layers = [_layer(store, diff_id) for diff_id in image.diff_ids]
            chosen[image.id] = Chosen(image, row[0].encode(), bytes(row[1]), row[2], layers, [])
        name = name_meant(image, reference)
        if name and name not in chosen[image.id].names:
            chosen[image.id].names.append(name)
    layers = [layer for one in chosen.values() for layer in one.layers]
    lease.protect({*(layer.diff_id for layer in layers), *(layer.blob for layer in layers if layer.blob)})
    for layer in layers:
        store.layers.name(layer.diff_id)  # raises where it is missing
    return list(chosen.values())


def choose_kept(store: Store, lease: Lease, config: bytes, manifest: bytes, manifest_type: str, where: str) -> Chosen:
    """An image that need have no row any more, as a manifest list keeps it. Raises StorageError."""
    image_id = hashlib.sha256(config).hexdigest()
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    image = Image(image_id, parse_config(config, where), [], digest, 0, "")
    lease.protect(image.diff_ids)
    layers = [_layer(store, diff_id) for diff_id in image.diff_ids]
    lease.protect([layer.blob for layer in layers if layer.blob])
    for layer in layers:
        store.layers.name(layer.diff_id)  # raises where it is missing
    return Chosen(image, config, manifest, manifest_type, layers, [])


def _layer(store: Store, diff_id: str) -> SavedLayer:
    row = store.db.execute(
        "SELECT tar_size, blob, blob_size, media_type FROM layers WHERE diff_id = ?", (diff_id,)
    ).fetchone()
    if row is None:
        return SavedLayer(diff_id, 0, None, 0, "")
    kept = bool(row[1]) and os.path.exists(store.layout.blob(row[1]))
    return SavedLayer(diff_id, row[0], row[1] if kept else None, row[2] or 0, row[3] or "")


def pack_missing(store: Store, lease: Lease, one: Chosen) -> None:
    """Compress (gzip) the layers of the image that have no blob of a kind that Docker's format knows.

    A layer that had none keeps it, as after a push; others are for this time. Raises StorageError.
    """
    turns = Turns()
    packings: dict[str, Packing] = {}
    try:
        for layer in one.layers:
            if not _suits(layer, False) and layer.diff_id not in packings:
                packings[layer.diff_id] = Packing(store, layer.diff_id, GZIP, None, turns)
        for packing in packings.values():
            packing.finish()
            keep_for_layer(store, lease, packing)
    finally:
        for packing in packings.values():
            packing.drop()
        turns.close()
    for number, layer in enumerate(one.layers):
        if layer.diff_id in packings:
            made = packings[layer.diff_id]
            one.layers[number] = replace(layer, blob=made.digest, blob_size=made.size, media_type=f"{OCI_LAYER}+{GZIP}")


def plan(one: Chosen, family: str | None = None, packed: bool | None = None) -> Plan:
    """How to write the image with a manifest of `family` (OCI_MANIFEST, DOCKER_MANIFEST; None: the one that it has).

    The image's own manifest is taken, byte for byte, where it is of that family and all that it lists can be given;
    else one is made of what the store can give. `packed`: False makes all layers plain tars, True takes
    blobs also where the own manifest lists plain tars.
    """
    own: dict[str, Any] = loads(one.manifest)
    listed = [str(entry.get("digest", "")).partition(":")[2] for entry in own.get("layers") or []]
    family = family or one.manifest_type
    if family == one.manifest_type and len(listed) == len(one.layers):
        parts = tuple(Part(layer, layer.diff_id == digest) for layer, digest in zip(one.layers, listed, strict=True))
        if [part.digest for part in parts] == listed and (
            packed is None or all(part.rebuilt is not packed for part in parts)
        ):
            return Plan(one, one.manifest, one.manifest_type, parts)
    oci = family != DOCKER_MANIFEST
    parts = tuple(Part(layer, packed is False or not _suits(layer, oci)) for layer in one.layers)
    described = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
        "config": descriptor(OCI_CONFIG if oci else DOCKER_CONFIG, one.image.id, len(one.config)),
        "layers": [descriptor(_media_type(part, oci), part.digest, part.size) for part in parts],
    }
    if oci and own.get("annotations"):
        described["annotations"] = own["annotations"]
    return Plan(one, dumps(described).encode(), str(described["mediaType"]), parts)


def _suits(layer: SavedLayer, oci: bool) -> bool:
    """Whether there is a blob of a kind that the family knows: Docker's has no zstd."""
    return bool(layer.blob) and (oci or not layer.media_type.endswith("zstd"))


def _media_type(part: Part, oci: bool) -> str:
    base, other = (OCI_LAYER, DOCKER_LAYER) if oci else (DOCKER_LAYER, OCI_LAYER)
    if part.rebuilt:
        return base
    for known in (base, other):
        if part.layer.media_type.startswith(known):
            packing = part.layer.media_type[len(known) :].lstrip("+.")
            return base + (("+" if oci else ".") + packing if packing else "")
    return base
