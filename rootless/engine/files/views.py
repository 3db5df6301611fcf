"""Root file systems by name: what `diff`, `commit` and `export` look at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rootless.engine import records
from rootless.engine.records import Container
from rootless.engine.recover import find
from rootless.errors import NotFoundError, UsageError
from storage.changes.tree import Tree, container_tree, ground_tree, image_tree
from storage.changes.work import list_changes
from storage.drivers import FUSE_OVERLAYFS, OVERLAY
from storage.lease import Lease
from storage.lookup import Image, find_image
from storage.store import Store

ANY = "any"
CONTAINER = "container"
IMAGE = "image"

# What the engine puts into every container: no change of the user's.
OWN_PATHS = frozenset(
    (
        b"/dev",
        b"/etc/hostname",
        b"/etc/hosts",
        b"/etc/mtab",
        b"/etc/resolv.conf",
        b"/proc",
        b"/run",
        b"/run/.containerenv",
        b"/run/notify",
        b"/run/podman-init",
        b"/run/secrets",
        b"/sys",
    )
)


@dataclass(frozen=True, slots=True)
class View:
    """A root file system. `layers`: diffIDs (hex, the lowest first) that it stands on; `below` is the tree of those and
    `tree` the whole; `stacked`: it is `below` with one directory on top. `ground`: what it stands on where
    that is a directory, and no layers."""

    tree: Tree
    below: Tree
    layers: Sequence[str]
    stacked: bool
    ground: Tree | None = None


def container_view(store: Store, container: Container, lease: Lease) -> View:
    """The files of a container, whatever state it is in. Raises StorageError."""
    layers = records.layers_of(store.db, container.id)
    lease.protect(layers)
    below = image_tree(store, layers)
    directory = store.layout.container(container.id)
    tree = container_tree(store, container.driver, directory, below)
    ground = ground_tree(directory, below.single)
    if ground is not None:
        return View(tree, below, layers, False, ground)
    return View(tree, below, layers, container.driver in (OVERLAY, FUSE_OVERLAYFS))


def image_view(store: Store, diff_ids: Sequence[str], lease: Lease) -> View:
    """The files of an image, above those of all its layers but the last."""
    lease.protect(diff_ids)
    return View(image_tree(store, diff_ids), image_tree(store, diff_ids[:-1]), diff_ids[:-1], bool(diff_ids))


def find_view(store: Store, name: str, kind: str, lease: Lease) -> tuple[View, list[str]]:
    """What `name` means, an image first as for Podman; with it, all layers that it has.

    Raises NotFoundError.
    """
    image = _image(store, name, kind) if kind != CONTAINER else None
    if image is not None:
        return image_view(store, image.diff_ids, lease), image.diff_ids
    if kind == IMAGE:
        raise NotFoundError(f"{name}: no such image here", "`rootless images` lists them")
    try:
        container = find(store, name)
    except NotFoundError:
        if kind == CONTAINER:
            raise
        raise NotFoundError(
            f"{name}: there is no image and no container of this name or id",
            "`rootless images` and `rootless ps -a` list them",
        ) from None
    return container_view(store, container, lease), []


def _image(store: Store, name: str, kind: str) -> Image | None:
    try:
        return find_image(store.db, name)
    except UsageError:
        if kind == IMAGE:
            raise
        return None  # a container may be called what no image may


def diff(store: Store, name: str, other: str | None = None, kind: str = ANY) -> list[tuple[str, str]]:
    """(A, C or D, absolute path) of what `name` has changed: against `other`, or against what it was made from.

    Raises NotFoundError, StorageError.
    """
    with Lease(store) as lease:
        view, _ = find_view(store, name, kind, lease)
        old, above = (view.below, view.stacked) if view.ground is None else (view.ground, True)
        if other is not None:
            second, layers = find_view(store, other, kind, lease)
            old, above = second.tree, view.stacked and bool(layers) and layers == list(view.layers)
        found = store.user_namespace().run(list_changes, view.tree, old, above, OWN_PATHS)
    return [(letter, os.fsdecode(path)) for letter, path in found]
