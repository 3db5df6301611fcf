"""Layers and images as registries hold them, made in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass
from typing import Any

from storage.documents.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.support.images import add_file

ARCHITECTURE = "amd64"


@dataclass(frozen=True)
class Packed:
    """A blob: its bytes, `digest` with "sha256:", and media type."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    @property
    def hex(self) -> str:
        return self.digest[7:]

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True)
class PackedImage:
    """`diff_ids` (hex) belong to `layers`, lowest first."""

    manifest: Packed
    config: Packed
    layers: tuple[Packed, ...]
    diff_ids: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.config.hex


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            add_file(tar, name, data)
    return out.getvalue()


def random_bytes(seed: int, size: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def pack(tar: bytes, packing: str) -> bytes:
    if packing == "gzip":
        return gzip.compress(tar, 1, mtime=0)
    if packing == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress(tar)
    assert packing == "none"
    return tar


def make_image(
    tars: list[bytes],
    packings: list[str] | None = None,
    *,
    docker: bool = False,
    architecture: str = ARCHITECTURE,
    diff_ids: list[str] | None = None,
    **config: Any,
) -> PackedImage:
    """An image of these tars, in OCI's or Docker's format; `config` is the runtime part of the configuration."""
    packings = packings or ["gzip"] * len(tars)
    base = "application/vnd.docker.image.rootfs.diff.tar" if docker else "application/vnd.oci.image.layer.v1.tar"
    endings = {"gzip": ".gzip" if docker else "+gzip", "zstd": "+zstd", "none": ""}
    layers = tuple(
        Packed(pack(tar, packing), base + endings[packing]) for tar, packing in zip(tars, packings, strict=True)
    )
    true_diff_ids = tuple(hashlib.sha256(tar).hexdigest() for tar in tars)
    described = {
        "architecture": architecture,
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in diff_ids or true_diff_ids]},
    }
    config_type = (
        "application/vnd.docker.container.image.v1+json" if docker else "application/vnd.oci.image.config.v1+json"
    )
    packed_config = Packed(json.dumps(described).encode(), config_type)
    return PackedImage(manifest_of(packed_config, layers, docker), packed_config, layers, true_diff_ids)


def manifest_of(config: Packed, layers: tuple[Packed, ...], docker: bool = False, **more: Any) -> Packed:
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    found = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **more,
    }
    return Packed(json.dumps(found).encode(), media_type)


def index_of(images: dict[str, Packed], docker: bool = False) -> Packed:
    """An index of manifests (or of indexes) by "os/architecture[/variant]"."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    entries = []
    for platform, packed in images.items():
        keys = zip(("os", "architecture", "variant"), platform.split("/"), strict=False)
        entries.append(packed.descriptor(platform=dict(keys)))
    return Packed(json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode(), media_type)
