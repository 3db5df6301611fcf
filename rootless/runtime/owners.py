"""Changing all that a mounted tree holds: whose it is (`U`), and its SELinux label (`z`, `Z`).

Whoever can write to the tree may change it meanwhile. No link is followed, nothing is opened but directories, and no
other file system is entered.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import RootlessError
from rootless.kernel.files import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    mount_setattr,
    open_tree,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Called with an open directory and the name of an entry in it that is no directory, or with "" for what is open.
    Change = Callable[[int, str], None]

_MOST_LEVELS = 200
# SELinux's type for files of containers, which every container may use: ours have no categories of their own.
_LABEL = b"system_u:object_r:container_file_t:s0\0"


class Gift:
    """A mounted tree that is the container's user's, once it is known who that is. `source` serves messages."""

    __slots__ = ("_fd", "_source")

    def __init__(self, mount: int, source: str) -> None:
        self._source = source
        tree = _writable(mount)
        try:
            self._fd = _open(tree)
        except OSError as error:
            raise RootlessError(f"giving {source} to the container's user (U): {error.strerror}") from None
        finally:
            os.close(tree)

    def give(self, uid: int, gid: int) -> None:
        """Change the owner of everything in it that has another. Raises RootlessError."""

        def change(directory: int, name: str) -> None:
            if not name:
                found = os.fstat(directory)
                if (found.st_uid, found.st_gid) != (uid, gid):
                    os.fchown(directory, uid, gid)
                return
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if (found.st_uid, found.st_gid) != (uid, gid):
                os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)

        try:
            _change(self._fd, change)
        except OSError as error:
            hint = None
            if error.errno in (errno.EPERM, errno.EACCES, errno.EINVAL):
                hint = f"it holds files of users that have no id in the container, or {uid}:{gid} is none"
            raise RootlessError(f"giving {self._source} to {uid}:{gid} (U): {error.strerror}", hint) from None
        finally:
            os.close(self._fd)


def own(mount: int, source: str, uid: int, gid: int) -> None:
    """Change the owner of the directory that is mounted, not of what is in it. Raises RootlessError."""
    tree = top = _writable(mount)
    try:
        top = _open(tree)
        os.fchown(top, uid, gid)
    except OSError as error:
        raise RootlessError(f"giving {source} to {uid}:{gid}: {error.strerror}") from None
    finally:
        for fd in {tree, top}:
            os.close(fd)


def relabel(mount: int, source: str) -> None:
    """Give everything in a mounted tree the label that SELinux lets containers use. Raises RootlessError."""

    def change(directory: int, name: str) -> None:
        path = f"/proc/self/fd/{directory}" + (f"/{name}" if name else "")
        os.setxattr(path, "security.selinux", _LABEL, follow_symlinks=not name)

    tree = top = _writable(mount)
    try:
        top = _open(tree)
        _change(top, change)
    except OSError as error:
        if error.errno != errno.ENOTSUP:  # a file system without labels: SELinux has one for all of it
            raise RootlessError(f"labelling {source} for containers (z): {error.strerror}") from None
    finally:
        for fd in {tree, top}:
            os.close(fd)


def _writable(mount: int) -> int:
    """Another mount of the same tree, which can be written to even if the container's cannot."""
    tree = open_tree(mount, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE)
    try:
        mount_setattr(tree, "", AT_EMPTY_PATH, attr_clr=MOUNT_ATTR_RDONLY)
    except OSError:
        pass  # read-only on the host: the first change says so
    return tree


def _open(tree: int) -> int:
    mode = os.fstat(tree).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise OSError(errno.EINVAL, "only directories and files can be treated so")
    return os.open(f"/proc/self/fd/{tree}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)


def _change(top: int, change: Change) -> None:
    if stat.S_ISDIR(os.fstat(top).st_mode):
        _descend(top, change, 0)
    else:
        change(top, "")


def _descend(directory: int, change: Change, level: int) -> None:
    if level > _MOST_LEVELS:
        raise OSError(errno.ELOOP, f"more than {_MOST_LEVELS} levels of directories")
    change(directory, "")
    for name in os.listdir(directory):
        try:
            below = _open_directory(directory, name)
            if below is None:
                change(directory, name)
                continue
        except FileNotFoundError:
            continue  # somebody has just deleted it
        try:
            if below >= 0:
                _descend(below, change, level + 1)
        finally:
            if below >= 0:
                os.close(below)


def _open_directory(directory: int, name: str) -> int | None:
    """The directory `name`, open; None for what is none; -1 where another file system is mounted on it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return openat2(directory, name, flags, resolve=RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return -1
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return None
        raise
