"""Paths that the container may not see or not change, and kernel settings written for it.

All of it works on descriptors of the /proc and /sys that were mounted here, never on what the image put at those names
(CVE-2019-19921, CVE-2025-31133, CVE-2025-52881).
"""

from __future__ import annotations

import errno
import os

from rootless.errors import RootlessError, UsageError
from rootless.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    mount_setattr,
    open_tree,
)
from rootless.runtime.devices import clone_null
from rootless.runtime.inside import open_inside
from rootless.runtime.mounting import attach, is_directory, make_file_system
from rootless.runtime.mountoptions import MountOptions

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def mask_paths(root: int, paths: list[str]) -> None:
    """Hide files behind /dev/null, directories behind an empty read-only tmpfs; what does not exist needs nothing."""
    null = empty = -1
    for path in paths:
        place = _find(root, path)
        if place < 0:
            continue
        if is_directory(place):
            if empty < 0:
                empty = make_file_system("tmpfs", "tmpfs", MountOptions(["ro", "size=0k", "nr_inodes=1"]))
                cover = empty
            else:
                cover = open_tree(empty, "", AT_EMPTY_PATH | OPEN_TREE_CLONE)
        elif null < 0:
            cover = null = clone_null()
        else:
            cover = open_tree(null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE)
        attach(cover, place, path)
        os.close(place)
        if cover not in (null, empty):
            os.close(cover)
    for fd in (null, empty):
        if fd >= 0:
            os.close(fd)


def freeze_paths(root: int, paths: list[str]) -> None:
    """Make paths, and all that is mounted beneath them, read-only."""
    for path in paths:
        place = _find(root, path)
        if place < 0:
            continue
        copy = open_tree(place, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE)
        mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY)
        attach(copy, place, path)
        os.close(place)
        os.close(copy)


def _find(root: int, path: str) -> int:
    try:
        return open_inside(root, path)
    except OSError as error:
        if error.errno in _ABSENT:
            return -1
        raise RootlessError(f"protecting {path}: {os.strerror(error.errno or 0)}") from None


def set_sysctls(proc: int, settings: dict[str, str]) -> None:
    """Write sysctls ("net.ipv4.ip_forward") of the container's own namespaces; `proc` is its /proc.

    Raises UsageError for what does not exist or is not the container's to set."""
    for name, value in settings.items():
        path = name if "/" in name else name.replace(".", "/")
        try:
            resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
            fd = openat2(proc, f"sys/{path}", os.O_WRONLY, resolve=resolve)
            try:
                os.write(fd, str(value).encode())
            finally:
                os.close(fd)
        except OSError as error:
            what = "there is no such setting" if error.errno in _ABSENT else os.strerror(error.errno or 0)
            raise UsageError(
                f"setting sysctl {name}={value}: {what}",
                "only settings of the container's own namespaces can be set: net.*, kernel.msg*, kernel.sem, "
                "kernel.shm*, fs.mqueue.*",
            ) from None
