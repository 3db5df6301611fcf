"""The images of Podman's store: images.json, and configurations and manifests as files beside it."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass, field
from typing import Any

from rootless.errors import ConflictError, ImageError, NotFoundError
from rootless.jsontext import loads
from storage.documents.config import LIMIT
from storage.podman_store.places import PodmanStore
from storage.references import DEFAULT_TAG, parse
from storage.settings.registries_conf import load as load_registries

_HEX = frozenset("0123456789abcdef")
_PLAIN = frozenset("0123456789abcdefghijklmnopqrstuvwxyz.")
_ID = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-")
_LONGEST_ID = 128
_INDEX_LIMIT = 256 << 20
_SHORTEST_PREFIX = 3


@dataclass(slots=True)
class PodmanImage:
    """One entry of images.json. `top`: its topmost layer there, "" where it has none (a manifest list)."""

    store: PodmanStore
    id: str
    names: list[str]
    digest: str
    top: str
    digests: set[str] = field(default_factory=set)

    def data(self, key: str) -> bytes:
        """One of the documents that belong to the image. Raises NotFoundError where it is missing."""
        return read_file(f"{self.store.images}/{self.id}/{_file_name(key)}", LIMIT)

    def manifest(self, digest: str = "") -> bytes:
        """The manifest with this digest ("sha256:..."), or the image's own."""
        try:
            return self.data(f"manifest-{digest or self.digest}")
        except NotFoundError:
            return self.data("manifest")


def list_images(store: PodmanStore) -> list[PodmanImage]:
    """All images of the store, and of the read-only ones beside it."""
    found = []
    for place in (store, *store.others):
        for entry in read_list(f"{place.images}/images.json"):
            if is_id(entry.get("id")):
                found.append(_image(place, entry))
    return found


def find_image(store: PodmanStore, images: list[PodmanImage], name: str) -> tuple[PodmanImage, list[str]]:
    """The image that `name` means in the store, and the names by which it was asked for: that one, or all that it has
    where it was asked for by its id. Raises NotFoundError, which lists what there is."""
    text = name.removeprefix("sha256:")
    if _HEX.issuperset(text) and len(text) == 64:
        for image in images:
            if image.id == text:
                return image, image.names
    if text is name and (found := _by_name(images, name)):
        return found
    if _HEX.issuperset(text) and len(text) >= _SHORTEST_PREFIX:
        fitting = [image for image in images if image.id.startswith(text)]
        if len(fitting) > 1:
            raise ConflictError(f"looking up image {name} in Podman's store {store}: several ids begin so")
        if fitting:
            return fitting[0], fitting[0].names
    listed = sorted(name for image in images for name in image.names or [image.id[:12]])
    raise NotFoundError(
        f"{name}: no such image in Podman's store {store}",
        ("it has " + ", ".join(listed[:20]) + (", ..." if len(listed) > 20 else ""))
        if listed
        else "it has none at all",
    )


def _by_name(images: list[PodmanImage], name: str) -> tuple[PodmanImage, list[str]] | None:
    if not name or (len(name) == 64 and _HEX.issuperset(name)):
        return None
    wanted = [parse(name), *load_registries().candidates(name, local=True)]
    if wanted[0].domain == "docker.io" and not name.startswith("docker.io/"):
        wanted.append(parse(f"localhost/{name}"))
    for reference in wanted:
        for image in images:
            if reference.digest:
                here = reference.name in {parse(known).name for known in image.names}
                if here and reference.digest in (image.digest, *image.digests):
                    return image, [f"{reference.name}@{reference.digest}"]
            elif f"{reference.name}:{reference.tag or DEFAULT_TAG}" in image.names:
                return image, [reference.tagged]
    return None


def _image(store: PodmanStore, entry: dict[str, Any]) -> PodmanImage:
    names = [name for name in entry.get("names") or () if isinstance(name, str)]
    known = entry.get("big-data-digests")
    digests = {str(value) for value in known.values()} if isinstance(known, dict) else set()
    return PodmanImage(
        store, entry["id"], names, str(entry.get("digest") or ""), str(entry.get("layer") or ""), digests
    )


def is_id(value: object) -> bool:
    """Whether it may be the id of an image or a layer there, which is part of paths."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and _ID.issuperset(value)


def _file_name(key: str) -> str:
    """The file of a document: keys of lower-case letters, digits and dots as they are, others in base64."""
    return key if _PLAIN.issuperset(key) else "=" + base64.b64encode(key.encode()).decode()


def read_list(path: str) -> list[dict[str, Any]]:
    """A JSON list of objects; empty where there is no such file. Raises ImageError."""
    try:
        listed = loads(read_file(path, _INDEX_LIMIT))
    except NotFoundError:
        return []
    except ValueError as error:
        raise ImageError(f"reading {path}: {error}") from None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ImageError(f"reading {path}: it is not a list of objects")
    return listed


def read_file(path: str, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes. Raises NotFoundError, ImageError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImageError(f"reading {path}: it is not a file")
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise NotFoundError(f"reading {path}: there is no such file") from None
    except OSError as error:
        raise ImageError(f"reading {path}: {error.strerror}") from None
    if len(data) > limit:
        raise ImageError(f"reading {path}: it has more than {limit} bytes")
    return data
