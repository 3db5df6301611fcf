"""Files: opening without being led astray, cloning, renaming, locking, syncing, deleting."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from rootless.kernel.libc import SyscallError, check, ioctl_number, libc, syscall, text

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


_OPENAT2 = 437  # on every architecture

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_ROOT_INODE = 256  # of every subvolume's uppermost directory on btrfs; elsewhere it may be anything's

# How deep `remove_tree` goes before it moves a directory up: it holds one descriptor for each level.
_DEEPEST = 24


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open with the kernel watching over the path (RESOLVE_*); the descriptor is close-on-exec. openat2(2), Linux 5.6.

    RESOLVE_IN_ROOT takes `dirfd` for "/", also for absolute symbolic links and "..". Raises SyscallError; EAGAIN, which
    tells of a rename at the wrong moment, is tried again.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(128):
        try:
            return syscall(_OPENAT2, "openat2", dirfd, text(path), how, len(how), path=path)
        except SyscallError as error:
            if error.errno != errno.EAGAIN or attempt == 127:
                raise
    raise AssertionError


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of `data`. A disk that becomes full takes a part of it first and says so at the next attempt only."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def reflink(dst_fd: int, src_fd: int) -> bool:
    """Make one file a clone of another that shares its blocks (FICLONE); False where the file system cannot."""
    try:
        fcntl.ioctl(dst_fd, ioctl_number(True, 0x94, 9, 4), src_fd)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOSYS):
            return False
        raise
    return True


def exchange(one: str, other: str) -> None:
    """Have two directories change places in one step (renameat2(2)). Raises SyscallError, EINVAL where the file system
    cannot."""
    check(libc.call("renameat2", _AT_FDCWD, text(one), _AT_FDCWD, text(other), _RENAME_EXCHANGE), "renameat2", one)


def lock_file(fd: int, exclusive: bool, blocking: bool) -> bool:
    """Lock an open file (flock(2)); False where another holds it and `blocking` is off. Ends with the descriptor."""
    operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if blocking else fcntl.LOCK_NB)
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    return True


def sync_path(path: str | bytes) -> None:
    """Have a file, or a directory with its names, on the disk before going on."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(fd: int) -> None:
    """Have everything written to the file system of `fd` on the disk before going on (syncfs(2))."""
    check(libc.call("syncfs", fd), "syncfs")


def remove_tree(path: str) -> list[str]:
    """Delete a file or a directory with all it holds, as far as we may; returns what could not be deleted.

    Links are not followed and other mounts not entered; directories of ours that lack permissions are given them. What
    does not exist is no failure. Any depth works with few descriptors.
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        top = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    except OSError:
        return [path]
    failed: list[str] = []
    moved: list[str] = []
    try:
        _remove(top, name, path, 0, top, moved, failed)
        while moved:
            name = moved.pop()
            _remove(top, name, f"{parent}/{name}" if parent else name, 0, top, moved, failed)
    finally:
        os.close(top)
    return failed


def _remove(parent: int, name: str, path: str, depth: int, top: int, moved: list[str], failed: list[str]) -> None:
    """Delete the entry `name` of the directory `parent`; `path` serves the report only."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    except OSError:
        failed.append(path)
        return
    try:
        os.rmdir(name, dir_fd=parent)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            failed.append(path)
            return
    try:
        directory = _open_directory(parent, name)
        if os.fstat(directory).st_ino == _ROOT_INODE and _remove_subvolume(parent, name, path, directory, failed):
            os.close(directory)
            return
    except OSError:
        failed.append(path)
        return
    if depth == _DEEPEST:
        os.close(directory)
        higher = f".removing-{os.urandom(8).hex()}"
        try:
            os.rename(name, higher, src_dir_fd=parent, dst_dir_fd=top)
            moved.append(higher)
        except OSError:
            failed.append(path)
        return
    before = len(failed)
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries]
        for entry in names:
            _remove(directory, entry, f"{path}/{entry}", depth + 1, top, moved, failed)
    except OSError:
        failed.append(path)
    finally:
        os.close(directory)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        if len(failed) == before:
            failed.append(path)


def _remove_subvolume(parent: int, name: str, path: str, root: int, failed: list[str]) -> bool:
    """Delete the directory `name`, open as `root`, where it may be a subvolume of btrfs; False where it is none.

    At once where that is allowed, else it is emptied, also where its maker has forbidden that. Nothing can be moved out
    of it: what is deep is moved up to its root.
    """
    if os.fstat(root).st_dev == os.fstat(parent).st_dev:
        return False
    from rootless.kernel.btrfs import destroy_subvolume, make_writable

    if destroy_subvolume(parent, name):
        return True
    make_writable(root)
    before = len(failed)
    moved = os.listdir(root)
    while moved:
        entry = moved.pop()
        _remove(root, entry, f"{path}/{entry}", 1, root, moved, failed)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        if len(failed) == before:
            failed.append(path)
    return True


def _open_directory(parent: int, name: str) -> int:
    """Open a directory for listing and deleting in it, with the permissions that takes where it is ours."""
    try:
        directory = _open_here(parent, name, _DIRECTORY)
    except PermissionError:
        handle = _open_here(parent, name, _DIRECTORY | os.O_PATH)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        finally:
            os.close(handle)
        directory = _open_here(parent, name, _DIRECTORY)
    if os.fstat(directory).st_mode & 0o300 != 0o300:
        try:
            os.fchmod(directory, 0o700)
        except OSError:  # not ours: deleting in it will say so
            pass
    return directory


def _open_here(parent: int, name: str, flags: int) -> int:
    """Open an entry that lies on the same mount as its parent."""
    try:
        return openat2(parent, name, flags, 0, RESOLVE_NO_XDEV)
    except SyscallError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # kernel < 5.6, or a sandbox that does not know the call
            raise
    return os.open(name, flags, dir_fd=parent)
