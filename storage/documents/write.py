"""Manifests of our own making, for images that come without one: archives of Docker's, imports, commits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from rootless.jsontext import dumps
from storage.documents.manifests import DOCKER_MANIFEST, OCI_MANIFEST

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def docker_manifest(config: bytes, layers: Sequence[tuple[str, int]]) -> bytes:
    """The Docker schema 2 manifest of an image of uncompressed layers: (diffID, size of its tar), the lowest first."""
    return _manifest(DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER, config, layers)


def oci_manifest(config: bytes, layers: Sequence[tuple[str, int]]) -> bytes:
    """The same as an OCI manifest."""
    return _manifest(OCI_MANIFEST, OCI_CONFIG, OCI_LAYER, config, layers)


def _manifest(own: str, config_type: str, layer_type: str, config: bytes, layers: Sequence[tuple[str, int]]) -> bytes:
    described = {
        "schemaVersion": 2,
        "mediaType": own,
        "config": descriptor(config_type, hashlib.sha256(config).hexdigest(), len(config)),
        "layers": [descriptor(layer_type, diff_id, size) for diff_id, size in layers],
    }
    return dumps(described).encode()


def descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    """An OCI descriptor; `digest` in hex."""
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}
