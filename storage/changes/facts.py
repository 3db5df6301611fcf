"""Owner, mode and extended attributes of a file as an image describes them."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from rootless.errors import StorageError
from storage.changes.stack import Node, Stack
from storage.drivers import UNMAPPED
from storage.tar.attributes import OVERRIDE, is_kept

_HIGHEST_ID = 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class Facts:
    """`mode` has the permission bits only; `xattrs` those that layers carry."""

    mode: int
    uid: int
    gid: int
    xattrs: dict[bytes, bytes]


def facts_of(stack: Stack, path: bytes, node: Node, single: bool, fd: int | None = None) -> Facts:
    """What is true of `path`; `fd` is a descriptor of it where there is one. `single`: only one id is mapped, so that
    other owners are notes (`storage.tar.attributes`). Raises StorageError for an owner that is not mapped."""
    found = node.found
    if single and (found.st_uid or found.st_gid):
        raise StorageError(f"reading {os.fsdecode(path)!r}: it belongs to an id that is not mapped", UNMAPPED)
    xattrs: dict[bytes, bytes] = {}
    if stat.S_ISREG(found.st_mode) or node.is_directory:
        opened = stack.open(path, node) if fd is None else fd
        if opened is not None:
            try:
                xattrs = _xattrs(opened)
            finally:
                if fd is None:
                    os.close(opened)
    mode, uid, gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
    noted = xattrs.pop(OVERRIDE, None)
    if noted is not None and not (uid or gid):
        mode, uid, gid = _noted(noted, mode)
    return Facts(mode, uid, gid, xattrs)


def _noted(text: bytes, mode: int) -> tuple[int, int, int]:
    """Mode, owner and group of a note; the container may have written anything there."""
    try:
        uid, gid, bits = text.split(b":")[:3]
        owner, group, noted = int(uid), int(gid), int(bits, 8)
    except ValueError:
        return mode, 0, 0
    if not (0 <= owner <= _HIGHEST_ID and 0 <= group <= _HIGHEST_ID):
        return mode, 0, 0
    # set-user-ID was taken away from what became root's, unless the mode has been changed since
    return (noted & 0o7777 if noted & 0o777 == mode & 0o777 else mode), owner, group


def _xattrs(fd: int) -> dict[bytes, bytes]:
    found = {}
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    for text in sorted(names):
        name = os.fsencode(text)
        if name != OVERRIDE and not is_kept(name):
            continue
        try:
            found[name] = os.getxattr(fd, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
    return found
