"""The container's /dev: a few nodes of the host, bound (none can be made in a user namespace), and links."""

from __future__ import annotations

import os
import stat

from rootless.errors import RootlessError
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    mount_setattr,
    move_mount,
    open_tree,
)

DEFAULT_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)


def clone_device(path: str) -> int:
    """A detached bind mount of a device node of the host. Raises RootlessError where there is none."""
    try:
        fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE)
    except SyscallError as error:
        raise RootlessError(f"giving the container {path}: {os.strerror(error.errno or 0)}") from None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISCHR(mode) and not stat.S_ISBLK(mode):
        os.close(fd)
        raise RootlessError(f"giving the container {path}: it is not a device")
    mount_setattr(fd, "", AT_EMPTY_PATH, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
    return fd


def clone_null() -> int:
    """A detached bind mount of the host's /dev/null, made sure to be that."""
    fd = clone_device("/dev/null")
    if os.fstat(fd).st_rdev != os.makedev(1, 3):
        raise RootlessError("masking paths: /dev/null of this host is another device")
    return fd


def fill_dev(dev: int) -> None:
    """Put the default nodes and links into `dev`, the root of a new tmpfs that nobody else can reach yet."""
    for name in DEFAULT_DEVICES:
        fd = clone_device(f"/dev/{name}")
        os.mknod(name, stat.S_IFREG | 0o666, dir_fd=dev)
        move_mount(fd, "", dev, name, MOVE_MOUNT_F_EMPTY_PATH)
        os.close(fd)
    for name, target in _LINKS:
        os.symlink(target, name, dir_fd=dev)
