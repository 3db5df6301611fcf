"""What a layer cannot know by itself, settled once the layers below it are there.

Layers are extracted side by side, each by itself. Two things need what lies beneath: a hard link to a file of a lower
layer, which becomes a copy of it; and a directory that no entry of the layer describes though files lie in it, which
gets the owner, mode, attributes and times that the layer below gives it (left alone, it would hide them: overlayfs
shows the topmost). The layer's notes say which. A layer that several images share is settled by the first.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import stat
from typing import Any

from rootless.errors import ImageError
from rootless.kernel.files import RESOLVE_IN_ROOT, openat2, sync_file_system
from storage.drivers.chain import copy_attributes, copy_file
from storage.tar.record import open_below

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def settle(layer: str, below: list[str], held: bool = False) -> None:
    """Settle the layer in the directory `layer`; `below` are those of the lower ones, the uppermost first. `held`: the
    caller has the directory locked already.

    Runs in the mapped user namespace. Raises ImageError for a hard link to what is not there.
    """
    lock = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not held:
            fcntl.flock(lock, fcntl.LOCK_EX)
        with open(layer + "/notes", "rb") as file:
            notes = marshal.load(file)
        _settle(layer, below, notes)
    except FileNotFoundError:
        if os.path.exists(layer + "/notes"):
            raise
        # another process was faster
    finally:
        os.close(lock)


def _settle(layer: str, below: list[str], notes: dict[str, Any]) -> None:
    diff = os.open(layer + "/diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lower = [os.open(path + "/diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in below]
    try:
        for path in notes["implied"]:
            _adopt(diff, path, lower)
        for path, target in notes["links"]:
            _copy_up(diff, path, target, lower)
        sync_file_system(diff)
        os.unlink(layer + "/notes")
    finally:
        for fd in (diff, *lower):
            os.close(fd)


def _find(lower: list[int], path: bytes, flags: int) -> int | None:
    """A descriptor of `path` in the uppermost layer that has it, unless one above that has deleted it."""
    for layer in lower:
        try:
            fd = openat2(layer, path, flags | os.O_NOFOLLOW, 0, RESOLVE_IN_ROOT)
        except OSError as error:
            if error.errno not in _MISSING:
                raise
            if error.errno != errno.ENOENT:
                return None
            continue
        found = os.fstat(fd)
        if stat.S_ISCHR(found.st_mode) and not found.st_rdev:
            os.close(fd)
            return None
        return fd
    return None


def _adopt(diff: int, path: bytes, lower: list[int]) -> None:
    source = _find(lower, path, os.O_PATH)
    if source is None:
        return
    try:
        if stat.S_ISDIR(os.fstat(source).st_mode):
            target = open_below(path, os.O_PATH | os.O_DIRECTORY, diff)
            try:
                copy_attributes(f"/proc/self/fd/{source}/.", f"/proc/self/fd/{target}/.")
            finally:
                os.close(target)
    finally:
        os.close(source)


def _copy_up(diff: int, path: bytes, target: bytes, lower: list[int]) -> None:
    source = _find([diff, *lower], target, os.O_PATH)
    if source is None:
        raise ImageError(f"extracting {path!r}: a hard link to {target!r}, which neither this layer nor one below has")
    directory, _, base = path.rpartition(b"/")
    try:
        parent = open_below(directory or b".", os.O_PATH | os.O_DIRECTORY, diff)
        try:
            found = os.fstat(source)
            place = f"/proc/self/fd/{parent}/{os.fsdecode(base)}"
            if os.path.lexists(place):
                return  # a later entry of the layer has the name
            if stat.S_ISREG(found.st_mode):
                copy_file(f"/proc/self/fd/{source}", place, found.st_size)
                copy_attributes(f"/proc/self/fd/{source}", place, follow=True)
            elif stat.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(b"", dir_fd=source), base, dir_fd=parent)
                os.chown(base, found.st_uid, found.st_gid, dir_fd=parent, follow_symlinks=False)
            else:
                raise ImageError(f"extracting {path!r}: a hard link to {target!r}, which is no file")
        finally:
            os.close(parent)
    finally:
        os.close(source)
