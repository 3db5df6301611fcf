"""Subvolumes and snapshots of btrfs, as far as an ordinary user may have them (ioctls of <linux/btrfs.h>). Hot.

Making them takes no privilege. Deleting one by ioctl takes the mount option user_subvol_rm_allowed; without it an empty
one can be removed as a directory is (Linux 4.18).
"""

from __future__ import annotations

import fcntl
import os
import struct

from rootless.kernel.libc import ioctl_number

_MAGIC = 0x94
_SUBVOL_CREATE = 14
_SNAP_DESTROY = 15
_SNAP_CREATE_V2 = 23
_SUBVOL_SETFLAGS = 26
_LONGEST = 4096


def create_subvolume(parent: int, name: str) -> None:
    """Make an empty subvolume in the directory `parent`. Raises OSError: ENOTTY on any other file system."""
    _order(parent, _SUBVOL_CREATE, struct.pack("=q4088s", 0, os.fsencode(name)), name)


def snapshot(parent: int, name: str, source: int) -> None:
    """Make `name` in the directory `parent` a writable snapshot of the subvolume whose root `source` is.

    Only the owner of that root may, or who is root over its id. Raises OSError.
    """
    _order(parent, _SNAP_CREATE_V2, struct.pack("=qQQ32s4040s", source, 0, 0, b"", os.fsencode(name)), name)


def destroy_subvolume(parent: int, name: str) -> bool:
    """Delete a subvolume with all it holds, in one step; False where that is not allowed, or is no subvolume."""
    try:
        _order(parent, _SNAP_DESTROY, struct.pack("=q4088s", 0, os.fsencode(name)), name)
    except OSError:
        return False
    return True


def make_writable(root: int) -> None:
    """Take the mark from a subvolume that makes it read-only, where it has one and we may."""
    try:
        fcntl.ioctl(root, ioctl_number(True, _MAGIC, _SUBVOL_SETFLAGS, 8), struct.pack("=Q", 0))
    except OSError:
        pass  # whoever writes in it next meets the reason


def _order(directory: int, number: int, arguments: bytes, name: str) -> None:
    assert len(arguments) == _LONGEST
    try:
        fcntl.ioctl(directory, ioctl_number(True, _MAGIC, number, _LONGEST), bytearray(arguments), True)
    except OSError as error:
        error.filename = name
        raise
