"""vfs: each container has its own copy of all layers. Where the file system shares blocks (FICLONE: btrfs, xfs, zfs),
the copy costs metadata only."""

from __future__ import annotations

import os

from rootless.kernel.mounts import MS_BIND, MS_RDONLY, MS_REC, MS_REMOUNT, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rootless.kernel.userns import UserNamespace
    from storage.layout import Layout

COPIED = "copied"  # a file in the container's directory, made when its copy was complete


def build(
    layout: Layout, container_dir: str, diff_ids: Sequence[str], user_namespace: Callable[[], UserNamespace]
) -> None:
    """Copy the layers, bottom first, into `container_dir`/rootfs. Raises StorageError."""
    from storage.drivers.chain import copy_chain

    diffs = [layout.diff(diff_id) for diff_id in diff_ids]
    user_namespace().run(copy_chain, diffs, container_dir + "/rootfs")
    mark_complete(container_dir)


def mark_complete(container_dir: str) -> None:
    """Note when the container's own root file system was complete: what is newer in it was changed by the container."""
    os.close(os.open(f"{container_dir}/{COPIED}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def bind(plan: dict[str, Any], target: str) -> None:
    """Mount the copy on `target`. Raises KernelError."""
    mount(plan["rootfs"], target, None, MS_BIND | MS_REC)
    if plan["read_only"]:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
