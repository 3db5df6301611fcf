"""Stores and images for tests that need no namespaces: layers are empty directories, configurations are real."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from storage.documents.manifests import DOCKER_MANIFEST
from storage.documents.write import docker_manifest
from storage.images.rows import AddedLayer, add_image
from storage.lease import Lease
from storage.store import Store


def make_store(place: Path) -> Store:
    return Store(str(place / "root"), str(place / "run"))


def hex_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def configuration(layers: list[str], created: str = "2024-01-02T03:04:05Z", **config: Any) -> bytes:
    described = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hex_of(layer)}" for layer in layers]},
        "history": [{"created": created, "created_by": f"step {layer}"} for layer in layers],
    }
    return json.dumps(described).encode()


def put_image(
    store: Store, *names: str, layers: tuple[str, ...] = ("base",), created: str = "2024-01-02T03:04:05Z", **config: Any
) -> str:
    """Add an image; its layers are named by words. Returns its id."""
    data = configuration(list(layers), created, **config)
    added = [AddedLayer(hex_of(layer), 1000, 2000) for layer in layers]
    for layer in added:
        Path(store.layout.diff(layer.diff_id)).mkdir(parents=True, exist_ok=True)
    manifest = docker_manifest(data, [(layer.diff_id, layer.tar_size) for layer in added])
    with Lease(store):
        return add_image(store, data, manifest, DOCKER_MANIFEST, added, names)


def put_container(store: Store, name: str, image_id: str, state: str = "exited") -> None:
    """A container's row, as the engine writes it."""
    store.db.execute(
        "INSERT INTO containers (id, name, image_id, image_name, created, request, state)"
        " VALUES (?, ?, ?, '', 0, '{}', ?)",
        (hex_of(name), name, image_id, state),
    )
