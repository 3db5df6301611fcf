"""Mounts, by the old interface (mount(2)) and by the new one, which works on descriptors (open_tree(2), fsopen(2))."""

from __future__ import annotations

import os
import struct

from rootless.kernel.libc import SyscallError, check, libc, syscall, text

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_SYMLINKS = 0x01
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# One number on every architecture: system calls from 424 on are common to all.
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_MOUNT_SETATTR = 442

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6


def mount(
    source: str | bytes | None,
    target: str | bytes,
    fstype: str | None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """mount(2). `data` is limited by the kernel to one page (4,095 bytes). Raises SyscallError."""
    what = "" if flags & MS_REMOUNT else os.fsdecode(fstype or source or b"")
    if source is not None:
        source = text(source)
    result = libc.call("mount", source, text(target), fstype, flags, data if data is None else text(data))
    check(result, f"mount {what} on" if what else "mount", target)


def umount(target: str | bytes, flags: int = 0) -> None:
    """umount2(2), `flags` of MNT_DETACH, MNT_FORCE, UMOUNT_NOFOLLOW."""
    check(libc.call("umount2", text(target), flags), "umount", target)


def pivot_root(new: str | bytes, old: str | bytes) -> None:
    """Make `new` the root of this mount namespace and put the former root at `old`; both may be "." (pivot_root(2))."""
    check(libc.call("pivot_root", text(new), text(old)), "pivot_root", new)


def open_tree(dirfd: int, path: str | bytes, flags: int) -> int:
    """A descriptor of a mount, or with OPEN_TREE_CLONE (and AT_RECURSIVE) of a detached copy of it; close-on-exec."""
    return syscall(_OPEN_TREE, "open_tree", dirfd, text(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(from_fd: int, from_path: str | bytes, to_fd: int, to_path: str | bytes, flags: int) -> None:
    """Attach a detached mount, or move one. An empty path with MOVE_MOUNT_[FT]_EMPTY_PATH stands for the descriptor."""
    syscall(
        _MOVE_MOUNT, "move_mount", from_fd, text(from_path), to_fd, text(to_path), flags, path=to_path or f"fd {to_fd}"
    )


def mount_setattr(
    fd: int,
    path: str | bytes,
    flags: int,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns_fd: int | None = None,
) -> None:
    """Change a mount's attributes (MOUNT_ATTR_*), with AT_RECURSIVE those of every mount beneath it, all or none.

    `propagation` is MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE; `userns_fd` goes with MOUNT_ATTR_IDMAP.
    """
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, propagation, userns_fd or 0)
    syscall(
        _MOUNT_SETATTR, "mount_setattr", fd, text(path), flags, attributes, len(attributes), path=path or f"fd {fd}"
    )


def fsopen(fstype: str) -> int:
    """A context (close-on-exec) in which a file system of this type is configured before it is mounted (fsopen(2))."""
    return syscall(_FSOPEN, "fsopen", fstype, _FSOPEN_CLOEXEC, path=fstype)


def fsconfig_string(fd: int, key: str, value: str | bytes) -> None:
    """Set `key=value` in a context; a value may hold up to 255 bytes."""
    _fsconfig(fd, _FSCONFIG_SET_STRING, key, text(value), 0, f"{key}={os.fsdecode(value)}")


def fsconfig_flag(fd: int, key: str) -> None:
    """Set an option that has no value."""
    _fsconfig(fd, _FSCONFIG_SET_FLAG, key, None, 0, key)


def fsconfig_create(fd: int) -> None:
    """Make the configured file system. Raises SyscallError with the kernel's own message where it gave one."""
    _fsconfig(fd, _FSCONFIG_CMD_CREATE, None, None, 0, "create")


def fsmount(fd: int, flags: int, attrs: int) -> int:
    """A detached mount (close-on-exec) of a created file system, with MOUNT_ATTR_*; attach it with move_mount."""
    return syscall(_FSMOUNT, "fsmount", fd, flags | _FSMOUNT_CLOEXEC, attrs)


def _fsconfig(fd: int, command: int, key: str | None, value: bytes | None, extra: int, what: str) -> None:
    try:
        syscall(_FSCONFIG, "fsconfig", fd, command, key, value, extra, path=what)
    except SyscallError as error:
        said = _kernel_messages(fd)
        if said:
            error.message += f": {said}"
        raise


def _kernel_messages(fd: int) -> str:
    """What the kernel wrote into the context: lines such as "e overlay: no changes allowed"."""
    lines = []
    while True:
        try:
            lines.append(os.read(fd, 4096).decode(errors="replace").strip()[2:])
        except OSError:  # ENODATA: nothing more was said
            return "; ".join(lines)
