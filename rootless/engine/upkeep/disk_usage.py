"""`system df`: what images, containers, volumes and kept blobs take on the disk, and what of it could be had back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rootless.engine.records import RUNNING, Container
from rootless.engine.recover import refresh_all
from storage.drivers.sizes import ALL, sizes_of, writable_place
from storage.store import Store
from storage.upkeep.disk_usage import Blob, ImageSpace, image_space, interrupted_downloads, kept_blobs, layer_space
from storage.volumes.rows import Volume, list_volumes


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of the summary; `size` and `reclaimable` in bytes."""

    name: str
    total: int
    active: int
    size: int
    reclaimable: int

    @property
    def percent(self) -> int:
        """How much of it is reclaimable, rounded."""
        return int(self.reclaimable * 100 / self.size + 0.5) if self.size else 0


@dataclass(frozen=True, slots=True)
class Usage:
    """All of it: the summary, and what it is made of, with sizes in bytes."""

    kinds: tuple[Kind, ...]
    images: list[ImageSpace]
    containers: list[tuple[Container, int]]
    volumes: list[tuple[Volume, int]]
    blobs: list[Blob]


def measure(store: Store, tell: Callable[[str], None]) -> Usage:
    """Look at everything. `tell` is given warnings about containers that cannot be mended."""
    containers = refresh_all(store, tell)
    volumes = list_volumes(store.db)
    places = [writable_place(one.driver, store.layout.container(one.id)) for one in containers]
    places += [(f"{store.layout.volume(volume.name)}/_data", ALL) for volume in volumes]
    sizes = sizes_of(places, store.user_namespace)
    written = list(zip(containers, sizes, strict=False))
    held = list(zip(volumes, sizes[len(containers) :], strict=True))
    images, blobs = image_space(store.db), kept_blobs(store.db)
    kinds = (
        _images(store, images),
        _containers(written),
        _volumes(held),
        _blobs(blobs, interrupted_downloads(store)),
    )
    return Usage(kinds, images, written, held, blobs)


def _images(store: Store, images: list[ImageSpace]) -> Kind:
    space = layer_space(store.db)
    active = sum(one.image.containers > 0 for one in images)
    return Kind("Images", len(images), active, space.size, space.reclaimable)


def _containers(written: list[tuple[Container, int]]) -> Kind:
    active = sum(one.state == RUNNING for one, _ in written)
    idle = sum(size for one, size in written if not one.alive)
    return Kind("Containers", len(written), active, sum(size for _, size in written), idle)


def _volumes(held: list[tuple[Volume, int]]) -> Kind:
    active = sum(bool(volume.users) for volume, _ in held)
    idle = sum(size for volume, size in held if not volume.users)
    return Kind("Local Volumes", len(held), active, sum(size for _, size in held), idle)


def _blobs(blobs: list[Blob], downloads: list[int]) -> Kind:
    """All of them could go: what they hold is in the extracted layers, or can be fetched again."""
    size = sum(blob.size for blob in blobs) + sum(downloads)
    return Kind("Blobs", len(blobs) + len(downloads), sum(blob.needed for blob in blobs), size, size)
