"""Filling a new tmpfs (the `tmpcopyup` option) or a new volume with what the image has at its mount point."""

from __future__ import annotations

import os
import stat

from rootless.errors import RootlessError
from rootless.runtime.inside import open_inside
from rootless.runtime.mounting import clone_tree, is_directory
from rootless.runtime.mountoptions import MountOptions

_PIECE = 1 << 20
_MOST_LEVELS = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def copy_up(root: int, target: int, path: str, dress: bool) -> None:
    """Copy what the image has at `path` into the directory `target`: files, directories and links, with modes, owners
    and times. Links are copied, never followed; other kinds of files are left out. With `dress` the directory itself
    becomes like the image's. Raises RootlessError naming `path`."""
    try:
        source = open_inside(root, path, same_mount=True)  # the image's own, never /proc or /dev
    except OSError:
        return  # nothing that could be copied: the mount point is made
    try:
        if not is_directory(source):
            return
        reader = os.open(".", _DIRECTORY, dir_fd=source)
        writer = os.open(".", _DIRECTORY, dir_fd=target)
        try:
            before = os.fstat(writer)
            _copy_directory(reader, writer, 0)
            if not dress:
                _dress(writer, before)
        finally:
            os.close(reader)
            os.close(writer)
    except OSError as error:
        raise RootlessError(f"copying the image's {path} into its tmpfs: {error.strerror}") from None
    finally:
        os.close(source)


def fill_volume(root: int, source: str, path: str, options: MountOptions) -> int | None:
    """Give the empty volume whose directory on the host is `source` what the image has at `path`: its files
    (`options.copy_up`), and on its first use the owner, mode and times of the directory.

    Returns the volume's directory, open, where the image has none and the container's user is to own it; else None.
    Raises RootlessError.
    """
    tree = clone_tree(source, MountOptions(["bind"]))  # one that can be written, even if the container's will not
    try:
        try:
            place = open_inside(root, path, same_mount=True)
        except OSError:
            return os.open(".", _DIRECTORY, dir_fd=tree) if options.first_use else None
        try:
            if is_directory(place):
                _fill(place, tree, options)
        finally:
            os.close(place)
    except OSError as error:
        raise RootlessError(f"copying the image's {path} into its volume: {error.strerror}") from None
    finally:
        os.close(tree)
    return None


def _fill(place: int, tree: int, options: MountOptions) -> None:
    reader = os.open(".", _DIRECTORY, dir_fd=place)
    writer = os.open(".", _DIRECTORY, dir_fd=tree)
    try:
        if options.copy_up and os.listdir(reader):
            before = os.fstat(writer)
            _copy_directory(reader, writer, 0)
            if not options.dress:
                _dress(writer, before)
        elif options.first_use:
            _dress(writer, os.fstat(reader))
    finally:
        os.close(reader)
        os.close(writer)


def _copy_directory(reader: int, writer: int, level: int) -> None:
    if level > _MOST_LEVELS:
        raise OSError(0, f"more than {_MOST_LEVELS} levels of directories")
    for name in os.listdir(reader):
        found = os.stat(name, dir_fd=reader, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=reader), name, dir_fd=writer)
            os.chown(name, found.st_uid, found.st_gid, dir_fd=writer, follow_symlinks=False)
            continue
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=writer)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below, copy = os.open(name, flags, dir_fd=reader), os.open(name, flags, dir_fd=writer)
            _copy_directory(below, copy, level + 1)
        elif stat.S_ISREG(found.st_mode):
            below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=reader)
            copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=writer)
            while os.sendfile(copy, below, None, _PIECE):
                pass
        else:
            continue
        os.close(below)
        _dress(copy, found)
        os.close(copy)
    _dress(writer, os.fstat(reader))


def _dress(fd: int, like: os.stat_result) -> None:
    os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))
    os.utime(fd, ns=(like.st_atime_ns, like.st_mtime_ns))
