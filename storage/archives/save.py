"""Saving images: docker-archive (what `docker save` writes), oci-archive (an OCI layout in a tar), and as directories
oci-dir (an OCI layout) and docker-dir (skopeo's "dir" layout)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from rootless.errors import UsageError
from rootless.jsontext import dumps
from storage.archives.directory_write import DirectoryWriter
from storage.archives.plan import Chosen, Part, Plan, choose, pack_missing, plan
from storage.archives.write import ArchiveWriter
from storage.documents.manifests import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from storage.documents.write import descriptor
from storage.events import emit
from storage.lease import Lease
from storage.progress import Progress
from storage.store import Store

DOCKER_ARCHIVE = "docker-archive"
OCI_ARCHIVE = "oci-archive"
OCI_DIRECTORY = "oci-dir"
DOCKER_DIRECTORY = "docker-dir"
AS_KEPT, PLAIN, COMPRESSED = "as kept", "plain", "compressed"  # what of a layer is written
DIRECTORIES = (OCI_DIRECTORY, DOCKER_DIRECTORY)

REF_NAME = "org.opencontainers.image.ref.name"

Writer = ArchiveWriter | DirectoryWriter


def save_images(
    store: Store,
    references: Sequence[str],
    output: int | str,
    format: str = DOCKER_ARCHIVE,
    progress: Progress | None = None,
    packing: str = AS_KEPT,
) -> None:
    """Write the images to `output`: an open descriptor for the archives, an empty directory for oci-dir and docker-dir.

    Layers are written as they came: the kept blob (the OCI formats, unless `packing` is PLAIN), or the tar rebuilt from
    files and record, which is checked against its diffID. In a docker-dir they are plain, or with COMPRESSED gzip.
    Raises NotFoundError and UsageError before anything is written; StorageError for a damaged layer.
    """
    with Lease(store) as lease:
        chosen = choose(store, lease, references)
        progress = progress or Progress()
        writer = DirectoryWriter(output, progress) if isinstance(output, str) else ArchiveWriter(output, progress)
        with writer:
            if format in (OCI_ARCHIVE, OCI_DIRECTORY):
                plans = [plan(one, OCI_MANIFEST, False if packing == PLAIN else None) for one in chosen]
                write_layout(store, writer, [(one, one.chosen.names) for one in plans])
            elif format == DOCKER_DIRECTORY:
                if len(chosen) != 1:
                    raise UsageError(
                        f"saving {len(chosen)} images: a docker-dir holds one", "choose oci-dir or an archive"
                    )
                if packing == COMPRESSED:
                    pack_missing(store, lease, chosen[0])
                write_directory(store, writer, plan(chosen[0], DOCKER_MANIFEST, packing == COMPRESSED))
            else:
                write_docker(store, writer, chosen)
    for one in chosen:
        emit(store, "image", "save", one.image.id, one.names[0] if one.names else "")


def write_docker(store: Store, writer: Writer, chosen: Sequence[Chosen]) -> None:
    """What `docker save` writes: tars of layers, configurations, and manifest.json that lists them."""
    listed = []
    for one in chosen:
        for layer in one.layers:
            _add_part(store, writer, f"{layer.diff_id}.tar", Part(layer, True))
        writer.add_bytes(f"{one.image.id}.json", one.config)
        listed.append(
            {
                "Config": f"{one.image.id}.json",
                "RepoTags": one.names,
                "Layers": [f"{layer.diff_id}.tar" for layer in one.layers],
            }
        )
    writer.add_bytes("manifest.json", dumps(listed).encode())


def write_directory(store: Store, writer: Writer, one: Plan) -> None:
    """The "dir" layout of skopeo: one image, its manifest (written last) beside its blobs, no names."""
    writer.add_bytes("version", b"Directory Transport Version: 1.1\n")
    for part in one.parts:
        _add_part(store, writer, part.digest, part)
    writer.add_bytes(one.chosen.image.id, one.chosen.config)
    writer.finish_parts()
    writer.replace("manifest.json", one.manifest)


def write_layout(
    store: Store,
    writer: Writer,
    plans: Sequence[tuple[Plan, Sequence[str]]],
    others: Sequence[dict[str, Any]] = (),
    index: bytes | None = None,
) -> None:
    """An OCI layout of these images, each under its labels (none: without a name). `others`: entries of index.json that
    are there already and stay. `index` lists the images, and has the labels of the first in their place."""
    writer.add_directory("blobs")
    writer.add_directory("blobs/sha256")
    writer.add_bytes("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    entries = list(others)
    for one, labels in plans:
        for part in one.parts:
            _add_part(store, writer, f"blobs/sha256/{part.digest}", part)
        writer.add_bytes(f"blobs/sha256/{one.chosen.image.id}", one.chosen.config)
        writer.add_bytes(f"blobs/sha256/{one.digest}", one.manifest)
        if index is None:
            entries += _entries(descriptor(OCI_MANIFEST, one.digest, len(one.manifest)), labels)
    if index is not None:
        digest = hashlib.sha256(index).hexdigest()
        writer.add_bytes(f"blobs/sha256/{digest}", index)
        entries += _entries(descriptor(OCI_INDEX, digest, len(index)), plans[0][1] if plans else ())
    writer.finish_parts()
    listing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    writer.replace("index.json", dumps(listing).encode())


def _entries(entry: dict[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    return [{**entry, "annotations": {REF_NAME: label}} for label in labels] or [entry]


def _add_part(store: Store, writer: Writer, name: str, part: Part) -> None:
    if part.rebuilt or part.layer.blob is None:
        diff_id = part.layer.diff_id
        writer.add_written(name, part.size, lambda output, at: store.layers.start_rebuild(diff_id, output, at))
    else:
        writer.add_file(name, store.layout.blob(part.layer.blob))
