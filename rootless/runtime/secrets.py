"""Secrets as files of a file system in memory. Loaded by pid 1 of a container that has some."""

from __future__ import annotations

import os
import stat

from rootless.errors import RootlessError
from rootless.kernel.files import write_all
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    mount_setattr,
    open_tree,
)
from rootless.runtime.mounting import make_file_system
from rootless.runtime.mountoptions import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ATTRIBUTES = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def secrets_tree(destination: str, files: list[Any]) -> int:
    """A detached, read-only mount for `destination`, which is the one file of `files` or a directory above them all.

    `files`: rows of (path in the container, file of the host with the data, uid, gid, mode). Raises RootlessError.
    """
    tree = make_file_system("tmpfs", "tmpfs", MountOptions(["mode=0755"]))
    try:
        for path, source, uid, gid, mode in files:
            name = "secret" if path == destination else path[len(destination) + 1 :]
            if "/" in name:
                _make_directories(tree, name)
            _write(tree, name, path, source, (uid, gid, mode))
        if len(files) == 1 and files[0][0] == destination:
            directory = tree
            try:
                tree = open_tree(directory, "secret", OPEN_TREE_CLONE)
            finally:
                os.close(directory)
        mount_setattr(tree, "", AT_EMPTY_PATH, _ATTRIBUTES)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _make_directories(tree: int, name: str) -> None:
    parts = name.split("/")
    for depth in range(1, len(parts)):
        try:
            os.mkdir("/".join(parts[:depth]), 0o755, dir_fd=tree)
        except FileExistsError:
            pass


def _write(tree: int, name: str, path: str, source: str, owner: tuple[int, int, int]) -> None:
    uid, gid, mode = owner
    try:
        with open(source, "rb", buffering=0) as file:
            data = file.readall()
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=tree)
        try:
            write_all(fd, data)
            if uid or gid:
                os.fchown(fd, uid, gid)
            os.fchmod(fd, stat.S_IMODE(mode))
        finally:
            os.close(fd)
    except OSError as error:
        what = error.strerror or str(error)
        hint = "its uid= and gid= must be ids of the container (`rootless doctor`)" if uid or gid else None
        raise RootlessError(f"giving the container the secret {path}: {what}", hint) from None
