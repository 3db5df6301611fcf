"""What is in an image archive: docker-archive, OCI layout (oci-archive, oci-dir), and the "dir" layout (docker-dir).

Everything read here is checked: sizes, types, digests. Names come out normalised, ready for the database.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from rootless.errors import ImageError, UsageError
from rootless.jsontext import dumps, loads
from storage.archive_source import Piece, Source
from storage.image_config import LIMIT, digest_hex, parse_config
from storage.platforms import host_platform
from storage.references import names_registry, parse

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_INDEX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class ArchivedLayer:
    """`diff_id` in hex; `digest` is the hex digest that the bytes of `piece` must have, or None where none is told."""

    diff_id: str
    piece: Piece
    digest: str | None
    media_type: str


@dataclass(slots=True)
class ArchivedImage:
    config: bytes
    manifest: bytes
    manifest_type: str
    layers: list[ArchivedLayer]
    names: list[str] = field(default_factory=list)


def read_images(source: Source) -> list[ArchivedImage]:
    """All images of the archive, none extracted yet. Raises ImageError where it is none, or says what is not so."""
    index = source.find("index.json")
    if index and source.find("oci-layout"):
        return _read_layout(source, _json(index, f"reading {source.what}: index.json"))
    manifest = source.find("manifest.json")
    if manifest is None:
        raise ImageError(
            f"reading {source.what}: no image archive: it has neither manifest.json nor index.json",
            "for the tarball of a root file system: rootless import",
        )
    parsed = _json(manifest, f"reading {source.what}: manifest.json")
    if isinstance(parsed, dict):
        return [_from_manifest(source, manifest.read(), "", lambda digest: source.find(digest), [])]
    if not isinstance(parsed, list) or not parsed:
        raise ImageError(f"reading {source.what}: manifest.json lists no image")
    return [_read_docker(source, entry) for entry in parsed]


def _json(piece: Piece, what: str) -> Any:
    if piece.size > LIMIT:
        raise ImageError(f"{what} has {piece.size} bytes, more than {LIMIT}")
    try:
        return loads(piece.read())
    except ValueError as error:
        raise ImageError(f"{what} is not JSON: {error}") from None


def _found(source: Source, name: object, limit: int = 0) -> Piece:
    piece = source.find(name) if isinstance(name, str) else None
    if piece is None:
        raise ImageError(f"reading {source.what}: manifest.json names {name!r}, which is not in the archive")
    if limit and piece.size > limit:
        raise ImageError(f"reading {source.what}: {name} has {piece.size} bytes, more than {limit}")
    return piece


def _read_docker(source: Source, entry: object) -> ArchivedImage:
    """One entry of a docker-archive's manifest.json: {"Config": name, "RepoTags": [...], "Layers": [names]}."""
    if not isinstance(entry, dict) or not isinstance(entry.get("Layers") or [], list):
        raise ImageError(f"reading {source.what}: manifest.json has an entry that describes no image")
    what = f"reading {source.what}: {entry.get('Config')}"
    config = _found(source, entry.get("Config"), LIMIT).read()
    diff_ids = [digest_hex(digest, what) for digest in parse_config(config, what)["rootfs"]["diff_ids"]]
    names = entry.get("Layers") or []
    if len(names) != len(diff_ids):
        raise ImageError(f"{what} describes {len(diff_ids)} layers, and manifest.json lists {len(names)}")
    layers = [
        ArchivedLayer(diff_id, _found(source, name), None, DOCKER_LAYER)
        for diff_id, name in zip(diff_ids, names, strict=True)
    ]
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ImageError(f"reading {source.what}: RepoTags in manifest.json is not a list of names")
    manifest = docker_manifest(config, [(layer.diff_id, layer.piece.size) for layer in layers])
    return ArchivedImage(config, manifest, DOCKER_MANIFEST, layers, [_name(source, tag) for tag in tags])


def docker_manifest(config: bytes, layers: list[tuple[str, int]]) -> bytes:
    """The manifest (Docker schema 2) of an image that came without one: (diffID, size) of its uncompressed layers."""
    described = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG, hashlib.sha256(config).hexdigest(), len(config)),
        "layers": [descriptor(DOCKER_LAYER, diff_id, size) for diff_id, size in layers],
    }
    return dumps(described).encode()


def descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    """An OCI descriptor; `digest` in hex."""
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _name(source: Source, text: str, registry: str = "") -> str:
    try:
        return parse(f"{registry}/{text}" if registry and not names_registry(text) else text).tagged
    except UsageError as error:
        raise ImageError(f"reading {source.what}: the image's name: {error.message}") from None


def _read_layout(source: Source, index: object) -> list[ArchivedImage]:
    """The images of an OCI layout; of several platforms under one name, the one for this machine."""
    what = f"reading {source.what}: index.json"
    groups: dict[str, list[dict[str, Any]]] = {}
    for number, entry in enumerate(_manifests(index, what)):
        annotations = entry.get("annotations") or {}
        name = next((annotations[key] for key in _NAME_ANNOTATIONS if isinstance(annotations.get(key), str)), "")
        platform = entry.get("platform")
        groups.setdefault(name or ("" if platform else f"#{number}"), []).append(entry)
    images = []
    for name, entries in groups.items():
        image = _image_of(source, entries, _INDEX_DEPTH)
        if name and not name.startswith("#"):
            image.names.append(_name(source, name, "localhost"))
        images.append(image)
    if not images:
        raise ImageError(f"{what} lists no image")
    return images


def _manifests(index: object, what: str) -> list[dict[str, Any]]:
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImageError(f"{what} has no list of manifests")
    return entries


def _image_of(source: Source, entries: list[dict[str, Any]], depth: int) -> ArchivedImage:
    entry = _for_this_machine(source, entries) if len(entries) > 1 else entries[0]
    what = f"reading {source.what}: {str(entry.get('digest'))[:19]}"
    data = _blob(source, entry.get("digest"), LIMIT).read()
    media_type = entry.get("mediaType") or ""
    if media_type in (OCI_INDEX, DOCKER_LIST):
        if not depth:
            raise ImageError(f"{what}: indexes nested too deeply")
        try:
            inner = _manifests(loads(data), what)
        except ValueError as error:
            raise ImageError(f"{what}: not JSON: {error}") from None
        if not inner:
            raise ImageError(f"{what}: an index without a manifest")
        return _image_of(source, inner, depth - 1)
    return _from_manifest(source, data, media_type, lambda hex: source.find(f"blobs/sha256/{hex}"), [])


def _for_this_machine(source: Source, entries: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = host_platform().architecture
    seen = []
    for entry in entries:
        platform = entry.get("platform") or {}
        if platform.get("os") == "linux" and platform.get("architecture") == wanted:
            return entry
        seen.append(f"{platform.get('os')}/{platform.get('architecture')}")
    raise ImageError(f"reading {source.what}: no image for linux/{wanted} among {', '.join(seen)}")


def _blob(source: Source, digest: object, limit: int) -> Piece:
    hex = digest_hex(digest, f"reading {source.what}")
    piece = source.find(f"blobs/sha256/{hex}")
    if piece is None:
        raise ImageError(f"reading {source.what}: blob sha256:{hex} is not in the archive")
    return _checked(source, piece, hex, limit)


def _checked(source: Source, piece: Piece, hex: str, limit: int) -> Piece:
    if piece.size > limit:
        raise ImageError(f"reading {source.what}: blob sha256:{hex} has {piece.size} bytes, more than {limit}")
    actual = hashlib.sha256(piece.read()).hexdigest()
    if actual != hex:
        raise ImageError(f"reading {source.what}: blob sha256:{hex} is damaged: its digest is sha256:{actual}")
    return piece


def _from_manifest(source: Source, data: bytes, media_type: str, find: Any, names: list[str]) -> ArchivedImage:
    """The image of an OCI or Docker schema 2 manifest; `find(hex)` gives the piece of a blob."""
    what = f"reading {source.what}: the manifest"
    try:
        manifest = loads(data)
    except ValueError as error:
        raise ImageError(f"{what} is not JSON: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("config"), dict):
        raise ImageError(f"{what} names no configuration")
    media_type = manifest.get("mediaType") or media_type or OCI_MANIFEST
    if media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise ImageError(f"{what} is of an unknown type {media_type!r}")
    entries = manifest.get("layers")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImageError(f"{what} has no list of layers")

    def piece_of(entry: dict[str, Any]) -> tuple[str, Piece]:
        hex = digest_hex(entry.get("digest"), what)
        piece: Piece | None = find(hex)
        if piece is None:
            raise ImageError(f"reading {source.what}: blob sha256:{hex} is not in the archive")
        if entry.get("size") != piece.size:
            raise ImageError(f"{what} says {entry.get('size')} bytes of blob sha256:{hex}; it has {piece.size}")
        return hex, piece

    hex, piece = piece_of(manifest["config"])
    config = _checked(source, piece, hex, LIMIT).read()
    diff_ids = [digest_hex(digest, what) for digest in parse_config(config, what)["rootfs"]["diff_ids"]]
    if len(entries) != len(diff_ids):
        raise ImageError(f"{what} lists {len(entries)} layers, and the image configuration {len(diff_ids)}")
    layers = []
    for diff_id, entry in zip(diff_ids, entries, strict=True):
        hex, piece = piece_of(entry)
        layers.append(ArchivedLayer(diff_id, piece, hex, str(entry.get("mediaType") or OCI_LAYER)))
    return ArchivedImage(config, data, media_type, layers, names)
