"""Which directories a root file system is made of: an image's layers, or a container's files above them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rootless.errors import StorageError
from storage.drivers import FUSE_OVERLAYFS, OVERLAY
from storage.drivers.overlay import LOWER
from storage.drivers.vfs import COPIED
from storage.layers.names import layer_names
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Tree:
    """`directories`, the uppermost first: (path, whether names with `.wh.` are whiteouts in it). `single`: only one id
    is mapped. `copied`: the moment (nanoseconds) at which a copy of all layers was complete, for one that is a copy."""

    directories: tuple[tuple[str, bool], ...]
    single: bool
    copied: int | None = None


def image_tree(store: Store, diff_ids: Sequence[str]) -> Tree:
    """The layers (hex, the lowest first) over one another. Raises StorageError where one is missing."""
    names = layer_names(store, diff_ids)
    return Tree(tuple((store.layout.diff(name), True) for name in reversed(names)), store.user_map.single)


def ground_tree(directory: str, single: bool) -> Tree | None:
    """The user's directory that an overlay stands on in place of layers, if the one in `directory` does so."""
    lower = f"{directory}/{LOWER}"
    return Tree(((os.path.realpath(lower), False),), single) if os.path.islink(lower) else None


def container_tree(store: Store, driver: str, directory: str, below: Tree) -> Tree:
    """The root file system of the container whose files are in `directory`, made by `driver` on top of `below`.

    Raises StorageError where a crash has left it half made.
    """
    if driver in (OVERLAY, FUSE_OVERLAYFS):
        upper = directory + "/upper"
        if os.path.isdir(upper):
            ground = ground_tree(directory, below.single)
            directories = below.directories if ground is None else ground.directories
            return Tree(((upper, driver == FUSE_OVERLAYFS), *directories), below.single)
    else:
        try:
            copied = os.stat(f"{directory}/{COPIED}").st_mtime_ns
            files = os.path.realpath(directory + "/rootfs")  # a link, where they are a directory of the user's
            return replace(below, directories=((files, False),), copied=copied)
        except FileNotFoundError:
            pass
    raise StorageError(f"reading the files of {os.path.basename(directory)[:12]}: a crash has left it half made")
