"""Manifests and indexes (OCI image-spec manifest.md and image-index.md; Docker's schema 2), checked as they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rootless.errors import ImageError
from rootless.jsontext import loads
from storage.documents.config import digest_hex
from storage.platforms import Platform

LIMIT = 4 << 20  # bytes of a manifest or a configuration: what registries accept
_MOST_LAYERS = 1000

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))

_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",  # Docker 1.10's
)
_LAYERS = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")
_FOREIGN = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")
_KNOWN_PACKING = ("", "gzip", "zstd", "xz", "bzip2")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob as a manifest names it: `digest` in hex, `size` in bytes."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image; `layers` lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image of an index; `platform` is None where the index does not say."""

    descriptor: Descriptor
    platform: Platform | None


@dataclass(frozen=True, slots=True)
class Index:
    media_type: str
    entries: tuple[IndexEntry, ...]


def parse_manifest(data: bytes, content_type: str, where: str) -> Manifest | Index:
    """Read a manifest or an index. `content_type`: what the registry says it is ("" where nothing is said).

    Raises ImageError for everything that is no image: other JSON, artifacts, schema 1, contradictions.
    """
    try:
        found = loads(data)
    except ValueError as error:
        if data.lstrip()[:1] == b"<":
            raise ImageError(
                f"{where}: the answer is a web page, not a manifest", "is there a registry at all?"
            ) from None
        raise ImageError(f"{where}: the manifest is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ImageError(f"{where}: the manifest is not a JSON object")
    media_type = _media_type(found, content_type.partition(";")[0].strip(), where)
    if media_type in (OCI_INDEX, DOCKER_LIST):
        return Index(media_type, tuple(_entry(item, where) for item in _objects(found, "manifests", where)))
    return _manifest(found, media_type, where)


def _media_type(found: dict[str, Any], content_type: str, where: str) -> str:
    if found.get("schemaVersion") == 1 or content_type in _SCHEMA_1:
        raise ImageError(
            f"{where}: the manifest is of Docker's schema 1, which nobody has made since 2017",
            "push the image again with a current tool",
        )
    # both at once would mean one image to us and another to the next reader (CVE-2021-41190)
    if "manifests" in found and ("layers" in found or "config" in found):
        raise ImageError(f"{where}: the manifest claims to be an index as well")
    known = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
    own = found.get("mediaType")
    shape = OCI_INDEX if "manifests" in found else OCI_MANIFEST
    if own is not None and own not in known:
        raise ImageError(f"{where}: {str(own)[:100]!r} is not a kind of manifest that is known here")
    chosen = own or (content_type if content_type in known else shape)
    if (chosen in (OCI_INDEX, DOCKER_LIST)) != ("manifests" in found):
        raise ImageError(f"{where}: the manifest says {chosen} and looks like something else")
    return str(chosen)


def _manifest(found: dict[str, Any], media_type: str, where: str) -> Manifest:
    config = _descriptor(found.get("config"), "config", where)
    if config.media_type not in _CONFIGS:
        what = str(found.get("artifactType") or config.media_type or "of no kind")[:100]
        raise ImageError(f"{where}: this is not a container image but an artifact ({what})")
    if config.size > LIMIT:
        raise ImageError(f"{where}: the configuration has {config.size} bytes, more than {LIMIT}")
    layers = tuple(_layer(item, where) for item in _objects(found, "layers", where))
    if len(layers) > _MOST_LAYERS:
        raise ImageError(f"{where}: it has {len(layers)} layers, more than {_MOST_LAYERS}")
    return Manifest(media_type, config, layers)


def _layer(item: dict[str, Any], where: str) -> Descriptor:
    layer = _descriptor(item, "a layer", where)
    kind = layer.media_type
    if kind.endswith("+encrypted"):
        raise ImageError(f"{where}: the layer sha256:{layer.digest[:12]} is encrypted, which is not supported")
    if kind.startswith(_FOREIGN):
        raise ImageError(f"{where}: the layer sha256:{layer.digest[:12]} is not distributed by registries ({kind})")
    for base in _LAYERS:
        if kind.startswith(base) and kind[len(base) :].lstrip("+.") in _KNOWN_PACKING:
            return layer
    raise ImageError(f"{where}: the layer sha256:{layer.digest[:12]} is of an unknown kind: {kind[:100]!r}")


def _entry(item: dict[str, Any], where: str) -> IndexEntry:
    platform = item.get("platform")
    if platform is None:
        return IndexEntry(_descriptor(item, "an entry of the index", where), None)
    fields = (
        [platform.get(key) or "" for key in ("os", "architecture", "variant")] if isinstance(platform, dict) else [0]
    )
    if not all(isinstance(value, str) for value in fields):
        raise ImageError(f"{where}: a platform in the index is malformed")
    return IndexEntry(_descriptor(item, "an entry of the index", where), Platform(*fields))


def _descriptor(item: object, what: str, where: str) -> Descriptor:
    if not isinstance(item, dict):
        raise ImageError(f"{where}: {what} is missing from the manifest, or malformed")
    size, media_type = item.get("size"), item.get("mediaType", "")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise ImageError(f"{where}: {what} has an impossible size in the manifest: {str(size)[:40]}")
    if not isinstance(media_type, str):
        raise ImageError(f"{where}: {what} has a malformed media type in the manifest")
    return Descriptor(digest_hex(item.get("digest"), where), size, media_type)


def _objects(found: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = found.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ImageError(f"{where}: {key} in the manifest is not a list of objects")
    return value
