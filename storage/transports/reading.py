"""Images from archives, directories and Podman's store into ours: what `pull` and `run` do with such a name."""

from __future__ import annotations

import os
from dataclasses import dataclass

from rootless.errors import ImageError, NotFoundError, UsageError
from storage.archives.formats import ArchivedImage, ArchiveItem, for_platform, list_images
from storage.archives.load import add_archived
from storage.archives.source import Source, open_source
from storage.lease import Lease
from storage.platforms import Platform, host_platform
from storage.progress import Progress
from storage.references import parse
from storage.settings.policy import check_unsigned, path_scopes
from storage.store import Store
from storage.transports.places import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE, PODMAN, Place, parse_place


@dataclass(frozen=True, slots=True)
class Read:
    """An image that is in the store now: its id (hex), and the names that it was given."""

    id: str
    names: list[str]


def read_image(store: Store, text: str, platform: Platform | None = None, progress: Progress | None = None) -> Read:
    """Add the image that `text` (with its transport) names, and give it the names that Podman would.

    Of several platforms under one name `platform` is taken, or this machine's. Layers that are here are not read again.
    Raises UsageError, NotFoundError, ImageError, StorageError, RegistryError where policy.json does not let it in.
    """
    place = parse_place(text)
    progress = progress or Progress()
    if place.transport == PODMAN:
        from storage.podman_store.moving import copy_image

        return Read(*copy_image(store, place.name or "", platform or host_platform(), progress))
    check_unsigned(place.transport, path_scopes(place.transport, place.path, place.name or ""), f"reading {place}")
    source = _open(place, store.layout.tmp)
    try:
        image, names = _choose(source, place, platform or host_platform(), progress)
        image.names[:] = names
        with Lease(store) as lease:
            (loaded,) = add_archived(store, lease, [image], progress)
        return Read(loaded.id, loaded.names)
    finally:
        source.close()


def _open(place: Place, scratch: str) -> Source:
    wants_directory = place.transport in (OCI, DIR)
    if os.path.isdir(place.path) != wants_directory:
        if not os.path.lexists(place.path):
            raise NotFoundError(f"reading {place}: no such file or directory")
        kind, other = ("a file", OCI_ARCHIVE) if wants_directory else ("a directory", OCI)
        raise ImageError(f"reading {place}: {place.path} is {kind}", f"for an OCI layout: {other}:{place.path}")
    return open_source(place.path, scratch)


def _choose(source: Source, place: Place, platform: Platform, progress: Progress) -> tuple[ArchivedImage, list[str]]:
    """The image that is meant, and what it will be called."""
    kind, items = list_images(source)
    if kind != place.transport.removesuffix("-archive"):
        called = {"docker": DOCKER_ARCHIVE, "oci": place.transport.replace("docker", "oci").replace(DIR, OCI)}
        raise ImageError(f"reading {place}: this is no {place.transport}", f"try {called.get(kind, kind)}:{place.path}")
    item = _item(place, items, platform)
    image = item.read(platform)
    if place.transport == DOCKER_ARCHIVE:
        return image, [place.name] if place.name else list(item.names)
    if place.transport == OCI_ARCHIVE:
        return image, list(item.names)
    return image, _layout_name(place, progress)


def _layout_name(place: Place, progress: Progress) -> list[str]:
    """In an OCI layout the name in the reference is the image's; the layout's own is not used without it."""
    if place.transport != OCI or not place.name:
        return []
    try:
        return [parse(place.name).tagged]
    except UsageError:
        progress.warn(f"{place}: {place.name!r} cannot be the name of an image here; it gets none")
        return []


def _item(place: Place, items: list[ArchiveItem], platform: Platform) -> ArchiveItem:
    if place.index is not None:
        if place.index >= len(items):
            raise ImageError(f"reading {place}: there is no number {place.index}, there are {len(items)} images")
        return items[place.index]
    found = items
    if place.name:
        found = [
            item for item in items if place.name in (item.names if place.transport == DOCKER_ARCHIVE else item.labels)
        ]
        if not found:
            raise NotFoundError(f"reading {place}: there is no image {place.name}, only {_listed(items)}")
    if len({item.key for item in found}) > 1:
        if all(item.platform for item in found) and len({tuple(item.labels) for item in found}) == 1:
            return for_platform(found, platform, f"reading {place}")
        raise ImageError(
            f"reading {place}: there are {len(found)} images: {_listed(found)}",
            f"name one, as {place.transport}:{place.path}:NAME or :@NUMBER, or load all: rootless load -i {place.path}",
        )
    return found[0]


def _listed(items: list[ArchiveItem]) -> str:
    return ", ".join(f"@{number}" + "".join(f" {name}" for name in item.labels) for number, item in enumerate(items))
