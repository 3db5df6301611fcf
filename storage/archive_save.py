"""Saving images: docker-archive (what `docker save` writes), oci-archive (an OCI layout in a tar), and as directories
oci-dir (an OCI layout) and docker-dir (skopeo's "dir" layout)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rootless.errors import UsageError
from rootless.jsontext import dumps, loads
from storage.archive_write import ArchiveWriter
from storage.directory_write import DirectoryWriter
from storage.lease import Lease
from storage.lookup import Image, need_image
from storage.manifest_write import DOCKER_LAYER, OCI_CONFIG, OCI_LAYER, descriptor, docker_manifest
from storage.progress import Progress
from storage.registry.manifests import OCI_INDEX, OCI_MANIFEST
from storage.store import Store

DOCKER_ARCHIVE = "docker-archive"
OCI_ARCHIVE = "oci-archive"
OCI_DIRECTORY = "oci-dir"
DOCKER_DIRECTORY = "docker-dir"
DIRECTORIES = (OCI_DIRECTORY, DOCKER_DIRECTORY)

_Writer = ArchiveWriter | DirectoryWriter


@dataclass(frozen=True, slots=True)
class _Layer:
    """What the store has of a layer; `tar_size` in bytes, digests in hex."""

    diff_id: str
    tar_size: int
    blob: str | None


@dataclass(slots=True)
class _Chosen:
    """An image to save, with the names that were asked for."""

    image: Image
    config: bytes
    manifest: bytes
    manifest_type: str
    layers: list[_Layer]
    names: list[str]


def save_images(
    store: Store,
    references: Sequence[str],
    output: int | str,
    format: str = DOCKER_ARCHIVE,
    progress: Progress | None = None,
) -> None:
    """Write the images to `output`: an open descriptor for the archives, an empty directory for oci-dir and docker-dir.

    An image named by a name carries that name; by its id, none. Layers are written as they came: the kept blob (the
    OCI formats), or the tar rebuilt from files and record, which is checked against its diffID. Raises NotFoundError
    and UsageError before anything is written; StorageError for a damaged layer.
    """
    with Lease(store) as lease:
        chosen = _choose(store, references)
        layers = [layer for one in chosen for layer in one.layers]
        lease.protect({*(layer.diff_id for layer in layers), *(layer.blob for layer in layers if layer.blob)})
        for layer in layers:
            store.layers.name(layer.diff_id)  # raises where it is missing
        progress = progress or Progress()
        archive = DirectoryWriter(output, progress) if isinstance(output, str) else ArchiveWriter(output, progress)
        if format in (OCI_ARCHIVE, OCI_DIRECTORY):
            _write_oci(store, archive, chosen)
        elif format == DOCKER_DIRECTORY:
            _write_directory(store, archive, chosen)
        else:
            _write_docker(store, archive, chosen)
        archive.close()


def _choose(store: Store, references: Sequence[str]) -> list[_Chosen]:
    chosen: dict[str, _Chosen] = {}
    for reference in references:
        image = need_image(store.db, reference)
        if image.id not in chosen:
            row = store.db.execute(
                "SELECT config, manifest, manifest_type FROM images WHERE id = ?", (image.id,)
            ).fetchone()
            layers = [_layer(store, diff_id) for diff_id in image.diff_ids]
            chosen[image.id] = _Chosen(image, row[0].encode(), bytes(row[1]), row[2], layers, [])
        name = _name(image, reference)
        if name and name not in chosen[image.id].names:
            chosen[image.id].names.append(name)
    return list(chosen.values())


def _layer(store: Store, diff_id: str) -> _Layer:
    row = store.db.execute("SELECT tar_size, blob FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
    blob = row[1] if row and row[1] and os.path.exists(store.layout.blob(row[1])) else None
    return _Layer(diff_id, row[0] if row else 0, blob)


def _write_docker(store: Store, archive: _Writer, chosen: list[_Chosen]) -> None:
    listed = []
    for one in chosen:
        for layer in one.layers:
            _rebuild(store, archive, f"{layer.diff_id}.tar", layer)
        archive.add_bytes(f"{one.image.id}.json", one.config)
        listed.append(
            {
                "Config": f"{one.image.id}.json",
                "RepoTags": one.names,
                "Layers": [f"{layer.diff_id}.tar" for layer in one.layers],
            }
        )
    archive.add_bytes("manifest.json", dumps(listed).encode())


def _write_directory(store: Store, archive: _Writer, chosen: list[_Chosen]) -> None:
    """The "dir" layout of skopeo: one image, its manifest beside its blobs, no names."""
    if len(chosen) != 1:
        raise UsageError(f"saving {len(chosen)} images: a docker-dir holds one", "choose oci-dir or an archive")
    one = chosen[0]
    archive.add_bytes("version", b"Directory Transport Version: 1.1\n")
    for layer in one.layers:
        _rebuild(store, archive, layer.diff_id, layer)
    archive.add_bytes(one.image.id, one.config)
    manifest = docker_manifest(one.config, [(layer.diff_id, layer.tar_size) for layer in one.layers])
    archive.add_bytes("manifest.json", manifest)


def _write_oci(store: Store, archive: _Writer, chosen: list[_Chosen]) -> None:
    entries: list[dict[str, Any]] = []
    archive.add_directory("blobs")
    archive.add_directory("blobs/sha256")
    archive.add_bytes("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    for one in chosen:
        manifest = _oci_manifest(one)
        digest = hashlib.sha256(manifest).hexdigest()
        for layer, entry in zip(one.layers, loads(manifest)["layers"], strict=True):
            name = f"blobs/sha256/{entry['digest'].partition(':')[2]}"
            if name.endswith(layer.diff_id):
                _rebuild(store, archive, name, layer)
            elif layer.blob and not archive.has(name):
                archive.add_file(name, store.layout.blob(layer.blob))
        archive.add_bytes(f"blobs/sha256/{one.image.id}", one.config)
        archive.add_bytes(f"blobs/sha256/{digest}", manifest)
        for name in one.names or [""]:
            entry = descriptor(OCI_MANIFEST, digest, len(manifest))
            if name:
                entry["annotations"] = {"org.opencontainers.image.ref.name": name}
            entries.append(entry)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    archive.add_bytes("index.json", dumps(index).encode())


def _oci_manifest(one: _Chosen) -> bytes:
    """The image's own manifest, byte for byte, where it is OCI's and all its blobs can be given; else one of what the
    store can give."""
    own = loads(one.manifest)
    entries = own.get("layers") or []
    kept = [entry.get("digest", "").partition(":")[2] for entry in entries]
    if one.manifest_type == OCI_MANIFEST and all(
        digest in (layer.diff_id, layer.blob) for digest, layer in zip(kept, one.layers, strict=True)
    ):
        return one.manifest
    layers = []
    for entry, digest, layer in zip(entries, kept, one.layers, strict=True):
        if digest == layer.blob and digest != layer.diff_id:
            layers.append({**entry, "mediaType": _oci_type(str(entry.get("mediaType")))})
        else:
            layers.append(descriptor(OCI_LAYER, layer.diff_id, layer.tar_size))
    described = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, one.image.id, len(one.config)),
        "layers": layers,
    }
    if own.get("annotations"):
        described["annotations"] = own["annotations"]
    return dumps(described).encode()


def _oci_type(media_type: str) -> str:
    """OCI's media type for one of Docker's layer types."""
    if media_type.startswith(DOCKER_LAYER):
        ending = media_type.removeprefix(DOCKER_LAYER).replace(".", "+")
        return OCI_LAYER + ending
    return media_type


def _rebuild(store: Store, archive: _Writer, name: str, layer: _Layer) -> None:
    archive.add_written(name, layer.tar_size, lambda output: store.layers.rebuild(layer.diff_id, output))


def _name(image: Image, reference: str) -> str | None:
    """The name that goes into the archive: the one of the image's names that was asked for."""
    from storage.images import name_meant

    return name_meant(image, reference)
