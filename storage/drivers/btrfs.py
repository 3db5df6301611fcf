"""btrfs: each container's root file system is a writable snapshot of a subvolume that holds all layers of its image.

Both are made by ordinary users (`rootless.kernel.btrfs`). A snapshot costs the same however large the image is, and one
commit of the file system.
"""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.kernel.btrfs import create_subvolume, snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.kernel.userns import UserNamespace
    from storage.layout import Layout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def build_snapshot(
    layout: Layout, container_dir: str, names: Sequence[str], user_namespace: Callable[[], UserNamespace]
) -> None:
    """Make `container_dir`/rootfs out of the layers `names`, bottom first. Raises StorageError."""
    from storage.drivers.vfs import mark_complete

    if names:
        from storage.drivers.bases import open_base

        base = open_base(layout, names, user_namespace)
        try:
            _snapshot_as_owner(base.path, container_dir, user_namespace)
        finally:
            base.close()
    else:
        try:
            make_empty(container_dir)
        except OSError as error:
            raise _refusal(container_dir, error) from None
    mark_complete(container_dir)


def make_empty(container_dir: str) -> None:
    """Make `container_dir`/rootfs an empty subvolume. Raises OSError."""
    directory = os.open(container_dir, _DIRECTORY)
    try:
        create_subvolume(directory, "rootfs")
        os.chmod("rootfs", 0o755, dir_fd=directory)
    finally:
        os.close(directory)


def make_snapshot(source: str, container_dir: str) -> None:
    """Make `container_dir`/rootfs a snapshot of the subvolume `source`. Raises OSError."""
    root = os.open(source, _DIRECTORY)
    try:
        directory = os.open(container_dir, _DIRECTORY)
        try:
            snapshot(directory, "rootfs", root)
        finally:
            os.close(directory)
    finally:
        os.close(root)


def _snapshot_as_owner(source: str, container_dir: str, user_namespace: Callable[[], UserNamespace]) -> None:
    try:
        try:
            make_snapshot(source, container_dir)
        except PermissionError:  # the image's root directory belongs to another id than root, or is closed to its owner
            user_namespace().run(make_snapshot, source, container_dir)
    except OSError as error:
        raise _refusal(container_dir, error) from None


def _refusal(container_dir: str, error: OSError) -> StorageError:
    return StorageError(
        f"making a subvolume in {container_dir}: {error.strerror}",
        "the driver btrfs needs the store on btrfs: see `rootless doctor`; --storage-driver overlay works on it too",
    )
