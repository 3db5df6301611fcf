"""What is in an image archive: docker-archive, OCI layout (oci-archive, oci-dir), and the "dir" layout (docker-dir).

Everything read here is checked: sizes, types, digests. Names come out normalised, ready for the database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rootless.errors import ImageError, UsageError
from rootless.jsontext import loads
from storage.archives.source import Piece, Source
from storage.documents.config import LIMIT, digest_hex, parse_config
from storage.documents.manifests import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    Descriptor,
    Index,
    IndexEntry,
    Manifest,
    parse_manifest,
)
from storage.documents.platform_choice import available, best_of, choose
from storage.documents.write import DOCKER_LAYER, docker_manifest
from storage.platforms import Platform, host_platform
from storage.references import names_registry, parse

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


@dataclass(frozen=True, slots=True)
class ArchiveItem:
    """One image that an archive lists, not read yet. `labels`: what it is called there, as it stands there.

    `key` is the same for the same image. `platform` is None where the archive does not say. `read(wanted)` gives the
    image, of several platforms the wanted one, without names.
    """

    key: str
    labels: list[str]
    platform: Platform | None
    read: Callable[[Platform], ArchivedImage]
    full_names: Callable[[], list[str]]

    @property
    def names(self) -> list[str]:
        """The labels made whole ("docker.io/library/alpine:latest"). Raises ImageError where one is no name."""
        return self.full_names()


def read_images(source: Source) -> list[ArchivedImage]:
    """All images of the archive, none extracted yet; of several platforms under one name, the one for this machine.

    Raises ImageError where it is no archive, or says what is not so.
    """
    _, items = list_images(source)
    groups: dict[str, list[ArchiveItem]] = {}
    for number, item in enumerate(items):
        label = item.labels[0] if item.labels and item.platform else ""
        groups.setdefault(label or ("" if item.platform else f"#{number}"), []).append(item)
    images = []
    for members in groups.values():
        item = for_platform(members, host_platform(), f"reading {source.what}")
        image = item.read(host_platform())
        image.names.extend(item.names)
        images.append(image)
    return images


def for_platform(items: Sequence[ArchiveItem], wanted: Platform, where: str) -> ArchiveItem:
    """Of several the one that suits `wanted` best. Raises ImageError where none does."""
    if len(items) == 1:
        return items[0]
    best = best_of([item.platform for item in items], wanted)
    if best is None:
        listed = available(item.platform for item in items if item.platform)
        raise ImageError(f"{where}: there is no image for {wanted}, only for {listed or 'unknown platforms'}")
    return items[best]


def list_images(source: Source) -> tuple[str, list[ArchiveItem]]:
    """What kind of archive it is ("docker", "oci", "dir") and the images that it lists. Raises ImageError."""
    index = source.find("index.json")
    if index and source.find("oci-layout"):
        return "oci", _list_layout(source, index.read(LIMIT))
    found = source.find("manifest.json")
    if found is None:
        raise ImageError(
            f"reading {source.what}: no image archive: it has neither manifest.json nor index.json",
            "for the tarball of a root file system: rootless import",
        )
    data = found.read(LIMIT)
    try:
        listed = loads(data)
    except ValueError as error:
        raise ImageError(f"reading {source.what}: manifest.json is not JSON: {error}") from None
    if isinstance(listed, dict):
        return "dir", [_directory_item(source, data)]
    if not isinstance(listed, list) or not listed:
        raise ImageError(f"reading {source.what}: manifest.json lists no image")
    return "docker", [_docker_item(source, entry) for entry in listed]


def _directory_item(source: Source, data: bytes) -> ArchiveItem:
    def read(wanted: Platform) -> ArchivedImage:
        found = parse_manifest(data, "", f"reading {source.what}: manifest.json")
        if isinstance(found, Manifest):
            return _from_manifest(source, data, found)
        chosen = choose(found, wanted, f"reading {source.what}").descriptor
        name = f"{chosen.digest}.manifest.json"
        inner = _checked(source, _found(source, name), chosen.digest)
        return _of_bytes(source, inner, chosen, wanted, 0)

    return ArchiveItem("", [], None, read, list)


def _docker_item(source: Source, entry: object) -> ArchiveItem:
    """One entry of a docker-archive's manifest.json: {"Config": name, "RepoTags": [...], "Layers": [names]}."""
    if not isinstance(entry, dict) or not isinstance(entry.get("Layers") or [], list):
        raise ImageError(f"reading {source.what}: manifest.json has an entry that describes no image")
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ImageError(f"reading {source.what}: RepoTags in manifest.json is not a list of names")
    return ArchiveItem(
        str(entry.get("Config")),
        tags,
        None,
        lambda wanted: _read_docker(source, entry),
        lambda: [_name(source, tag) for tag in tags],
    )


def _found(source: Source, name: object) -> Piece:
    piece = source.find(name) if isinstance(name, str) else None
    if piece is None:
        raise ImageError(f"reading {source.what}: manifest.json names {name!r}, which is not in the archive")
    return piece


def _read_docker(source: Source, entry: dict[str, Any]) -> ArchivedImage:
    what = f"reading {source.what}: {entry.get('Config')}"
    config = _found(source, entry.get("Config")).read(LIMIT)
    diff_ids = [digest_hex(digest, what) for digest in parse_config(config, what)["rootfs"]["diff_ids"]]
    names = entry.get("Layers") or []
    if len(names) != len(diff_ids):
        raise ImageError(f"{what} describes {len(diff_ids)} layers, and manifest.json lists {len(names)}")
    layers = [
        ArchivedLayer(diff_id, _found(source, name), None, DOCKER_LAYER)
        for diff_id, name in zip(diff_ids, names, strict=True)
    ]
    manifest = docker_manifest(config, [(layer.diff_id, layer.piece.size) for layer in layers])
    return ArchivedImage(config, manifest, DOCKER_MANIFEST, layers)


def _name(source: Source, text: str, registry: str = "") -> str:
    try:
        return parse(f"{registry}/{text}" if registry and not names_registry(text) else text).tagged
    except UsageError as error:
        raise ImageError(f"reading {source.what}: the image's name: {error.message}") from None


def _list_layout(source: Source, data: bytes) -> list[ArchiveItem]:
    where = f"reading {source.what}"
    index = parse_manifest(data, OCI_INDEX, f"{where}: index.json")
    names = [_annotated_name(entry, where) for entry in loads(data).get("manifests") or ()]
    if not isinstance(index, Index) or not index.entries:
        raise ImageError(f"{where}: index.json lists no image")
    return [_layout_item(source, entry, name) for entry, name in zip(index.entries, names, strict=True)]


def _layout_item(source: Source, entry: IndexEntry, label: str) -> ArchiveItem:
    def read(wanted: Platform) -> ArchivedImage:
        return _of_entry(source, entry.descriptor, wanted, _INDEX_DEPTH)

    labels = [label] if label else []
    return ArchiveItem(
        entry.descriptor.digest,
        labels,
        entry.platform,
        read,
        lambda: [_name(source, label, "localhost") for label in labels],
    )


def _annotated_name(entry: dict[str, Any], where: str) -> str:
    annotations = entry.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise ImageError(f"{where}: annotations in index.json are not an object")
    return next((annotations[key] for key in _NAME_ANNOTATIONS if isinstance(annotations.get(key), str)), "")


def _of_entry(source: Source, chosen: Descriptor, wanted: Platform, depth: int) -> ArchivedImage:
    data = _checked(source, _blob(source, chosen), chosen.digest)
    return _of_bytes(source, data, chosen, wanted, depth)


def _of_bytes(source: Source, data: bytes, described: Descriptor, wanted: Platform, depth: int) -> ArchivedImage:
    """The image of a manifest, or the one in an index that is for the platform."""
    where = f"reading {source.what}"
    found = parse_manifest(data, described.media_type, f"{where}: sha256:{described.digest[:12]}")
    if isinstance(found, Manifest):
        return _from_manifest(source, data, found)
    if not depth or not found.entries:
        raise ImageError(f"{where}: " + ("an index without an image" if depth else "indexes nested too deeply"))
    only = found.entries[0] if len(found.entries) == 1 else choose(found, wanted, where)
    return _of_entry(source, only.descriptor, wanted, depth - 1)


def _from_manifest(source: Source, data: bytes, manifest: Manifest) -> ArchivedImage:
    where = f"reading {source.what}: the manifest"
    config = _checked(source, _blob(source, manifest.config), manifest.config.digest)
    diff_ids = [digest_hex(digest, where) for digest in parse_config(config, where)["rootfs"]["diff_ids"]]
    if len(manifest.layers) != len(diff_ids):
        raise ImageError(f"{where} lists {len(manifest.layers)} layers, and the image configuration {len(diff_ids)}")
    layers = [
        ArchivedLayer(diff_id, _blob(source, layer), layer.digest, layer.media_type)
        for diff_id, layer in zip(diff_ids, manifest.layers, strict=True)
    ]
    return ArchivedImage(config, data, manifest.media_type, layers)


def _blob(source: Source, wanted: Descriptor) -> Piece:
    """A blob of an OCI layout, or of skopeo's "dir" layout, where blobs lie beside the manifest."""
    piece = source.find(f"blobs/sha256/{wanted.digest}") or source.find(wanted.digest)
    if piece is None:
        raise ImageError(f"reading {source.what}: blob sha256:{wanted.digest} is not in the archive")
    if wanted.size != piece.size:
        raise ImageError(
            f"reading {source.what}: blob sha256:{wanted.digest} has {piece.size} bytes, {wanted.size} are listed"
        )
    return piece


def _checked(source: Source, piece: Piece, digest: str) -> bytes:
    """The content of a small blob, which must be what its digest says."""
    data = piece.read(LIMIT)
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise ImageError(f"reading {source.what}: blob sha256:{digest} is damaged: its digest is sha256:{actual}")
    return data
