"""Making one mount, detached until it is moved to its place: mount(2) never walks a path inside the image."""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import RootlessError
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MS_PRIVATE,
    OPEN_TREE_CLONE,
    fsconfig_create,
    fsconfig_flag,
    fsconfig_string,
    fsmount,
    fsopen,
    mount_setattr,
    move_mount,
    open_tree,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mountoptions import MountOptions

# What the host offers in place of a file system that may not be mounted anew here: inside another container its own
# masks would be undone, with the host's network or ipc namespace it is not ours to show.
_HOST_PLACE = {
    "proc": "/proc",
    "sysfs": "/sys",
    "mqueue": "/dev/mqueue",
    "cgroup": "/sys/fs/cgroup",
    "cgroup2": "/sys/fs/cgroup",
}


def make_file_system(fstype: str, source: str | None, options: MountOptions) -> int:
    """A detached mount of a new file system. Raises SyscallError."""
    context = fsopen(fstype)
    try:
        if source and source != "none":
            fsconfig_string(context, "source", source)
        for key, value in options.data:
            if value is None:
                fsconfig_flag(context, key)
            else:
                fsconfig_string(context, key, value)
        fsconfig_create(context)
        return fsmount(context, 0, options.attributes)
    finally:
        os.close(context)


def make_or_borrow(fstype: str, source: str | None, options: MountOptions, warnings: list[str]) -> int:
    """`make_file_system`, or where the kernel forbids that, the host's own mount of this type and a warning.

    Raises SyscallError where neither works.
    """
    try:
        return make_file_system(fstype, source, options)
    except SyscallError as error:
        place = _HOST_PLACE.get(fstype)
        if place is None or error.errno not in (errno.EPERM, errno.EACCES, errno.EBUSY):
            raise
        try:
            fd = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | AT_RECURSIVE)
        except SyscallError:
            raise RootlessError(
                f"mounting {fstype}: the kernel forbids it ({os.strerror(error.errno)}), and {place} of the host "
                "cannot be used either",
                "inside another container, give that one an unmasked /proc (--security-opt unmask=ALL)",
            ) from None
    attributes = options.attributes | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
    mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, attributes, propagation=MS_PRIVATE)
    if fstype == "proc":
        # Beside masked paths the kernel allows no new one, nor in a pid namespace that is not the container's own.
        warnings.append("/proc is that of the surroundings: the kernel allows no new one here")
    return fd


def clone_tree(source: str, options: MountOptions, opened: int | None = None) -> int:
    """A detached bind mount of `source`, a path of the host, with the attributes and propagation asked for.

    `opened`: a descriptor of it, for what no path is sure to lead to. Raises RootlessError that names the source.
    """
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if options.recursive else 0)
    try:
        if opened is None:
            fd = open_tree(AT_FDCWD, source, flags)
        else:
            fd = open_tree(opened, "", flags | AT_EMPTY_PATH)
    except SyscallError as error:
        hint = None
        if error.errno == errno.EINVAL and not options.recursive:
            hint = "other file systems are mounted beneath it and may not be uncovered: use rbind"
        raise RootlessError(f"mounting {source}: {os.strerror(error.errno or 0)}", hint) from None
    try:
        set_attributes(fd, options)
    except SyscallError as error:
        os.close(fd)
        raise RootlessError(f"mounting {source}: {error.message}") from None
    return fd


def set_attributes(fd: int, options: MountOptions) -> None:
    """Give a detached bind mount its attributes and its propagation (private unless asked otherwise).

    Attributes reach all of a recursive bind: what is mounted beneath a read-only volume is read-only too.
    """
    whole = AT_RECURSIVE if options.recursive or options.attributes_recursive else 0
    propagation = options.propagation or MS_PRIVATE
    if options.propagation_recursive or not options.propagation or not options.recursive:
        mount_setattr(fd, "", AT_EMPTY_PATH | whole, options.attributes, propagation=propagation)
        return
    mount_setattr(fd, "", AT_EMPTY_PATH, propagation=propagation)
    if options.attributes:
        mount_setattr(fd, "", AT_EMPTY_PATH | whole, options.attributes)


def attach(mount: int, place: int, path: str) -> None:
    """Put a detached mount on the file or directory that the descriptor `place` is. Raises RootlessError."""
    try:
        move_mount(mount, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    except SyscallError as error:
        what = os.strerror(error.errno or 0)
        if is_directory(mount) != is_directory(place):
            what = "one is a directory and the other is not"
        raise RootlessError(f"mounting on {path}: {what}") from None


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)
