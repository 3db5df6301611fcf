"""The index of a manifest list (OCI image-spec image-index.md; Docker's manifest list) as plain JSON values.

An index here is what the store keeps: OCI's, plus `features` in a platform, which only Docker's form has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rootless.errors import ImageError, NotFoundError, UsageError
from rootless.jsontext import dumps
from storage.documents.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

Index = dict[str, Any]
Entry = dict[str, Any]

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant", "features")
_DOCKER_ENTRY = ("mediaType", "size", "digest")


@dataclass(frozen=True, slots=True)
class Marks:
    """What is to be said of an entry beyond what its image says; None and empty leave what is there."""

    architecture: str | None = None
    os: str | None = None
    os_version: str | None = None
    variant: str | None = None
    features: tuple[str, ...] = ()
    os_features: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)


def annotations_of(texts: Iterable[str]) -> dict[str, str]:
    """The annotations of "key=value" texts. Raises UsageError."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"--annotation {text}: it is not KEY=VALUE")
        pairs[key] = value
    return pairs


def new_index(annotations: dict[str, str] | None = None) -> Index:
    """An index of nothing."""
    index: Index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    if annotations:
        index["annotations"] = dict(annotations)
    return index


def foreign_entry(item: dict[str, Any], where: str) -> Entry:
    """An entry of somebody else's index, whose digest, size and platform names have been checked (`parse_manifest`):
    what else is taken over of it is checked here. Raises ImageError."""
    platform = item.get("platform") or {}
    annotations = item.get("annotations") or {}
    artifact = item.get("artifactType") or ""
    sound = (
        isinstance(platform.get("os.version", ""), str)
        and all(_is_strings(platform.get(key, [])) for key in ("os.features", "features"))
        and isinstance(annotations, dict)
        and all(isinstance(value, str) for value in annotations.values())
        and isinstance(artifact, str)
    )
    if not sound:
        raise ImageError(f"{where}: the entry {item['digest']} of the index is malformed")
    more = {"annotations": annotations, "artifactType": artifact}
    return new_entry(str(item.get("mediaType") or OCI_MANIFEST), item["digest"], item["size"], platform, **more)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def new_entry(media_type: str, digest: str, size: int, platform: dict[str, Any], **more: Any) -> Entry:
    """An entry for the manifest `digest` ("sha256:...") of `size` bytes; `platform` in the keys of a configuration."""
    entry: Entry = {"mediaType": media_type, "size": size, "digest": digest}
    entry["platform"] = {"architecture": "", "os": "", **_platform(platform)}
    entry.update((key, value) for key, value in more.items() if value)
    return entry


def _platform(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in _PLATFORM if found.get(key)}


def marked(entry: Entry, marks: Marks) -> Entry:
    """The entry with what `marks` says."""
    platform = dict(entry.get("platform") or {})
    said = {
        "architecture": marks.architecture,
        "os": marks.os,
        "os.version": marks.os_version,
        "os.features": list(marks.os_features),
        "variant": marks.variant,
        "features": list(marks.features),
    }
    platform.update((key, value) for key, value in said.items() if value)
    changed = {**entry, "platform": {"architecture": "", "os": "", **_platform(platform)}}
    return with_annotations(changed, marks.annotations)


def with_annotations(value: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    """An index or an entry with more annotations."""
    if not annotations:
        return value
    return {**value, "annotations": {**(value.get("annotations") or {}), **annotations}}


def with_entry(index: Index, entry: Entry) -> Index:
    """The index with the entry, in the place of one of the same digest or at the end."""
    entries: list[Entry] = list(index["manifests"])
    for place, old in enumerate(entries):
        if old["digest"] == entry["digest"]:
            entries[place] = entry
            break
    else:
        entries.append(entry)
    return {**index, "manifests": entries}


def entry_of(index: Index, digest: str, where: str) -> Entry:
    """The entry of a digest. Raises NotFoundError."""
    for entry in index["manifests"]:
        if entry["digest"] == digest:
            found: Entry = entry
            return found
    listed = ", ".join(entry["digest"] for entry in index["manifests"][:4])
    raise NotFoundError(
        f"{where}: nothing in the list has the digest {digest}",
        f"it lists {listed}" if listed else "the list is empty",
        exit_code=125,
    )


def without(index: Index, digest: str, where: str) -> Index:
    """The index without the entry of a digest. Raises NotFoundError."""
    gone = entry_of(index, digest, where)
    return {**index, "manifests": [entry for entry in index["manifests"] if entry is not gone]}


def oci_bytes(index: Index) -> bytes:
    """The index as OCI writes it."""
    return dumps(oci(index)).encode()


def oci(index: Index) -> Index:
    """The index without what OCI has no place for, its keys in the specification's order."""
    entries = [_oci_entry(entry) for entry in index["manifests"]]
    written: Index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    for key in ("subject", "annotations"):
        if index.get(key):
            written[key] = index[key]
    return written


def _oci_entry(entry: Entry) -> Entry:
    platform = {key: value for key, value in (entry.get("platform") or {}).items() if key != "features"}
    return {**entry, "platform": platform}


def docker_bytes(index: Index) -> bytes:
    """The index as Docker's manifest list, which knows no annotations and no subject."""
    entries = []
    for entry in index["manifests"]:
        entries.append({**{key: entry[key] for key in _DOCKER_ENTRY}, "platform": entry.get("platform") or {}})
    return dumps({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}).encode()


def digest_of(data: bytes) -> str:
    """The digest of what is written, with "sha256:"."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def all_docker(index: Index) -> bool:
    """Whether all that is listed is Docker's, which belongs into Docker's form of list."""
    return {entry["mediaType"] for entry in index["manifests"]} == {DOCKER_MANIFEST}
