"""Owners and extended attributes of extracted files, as far as the user namespace allows them.

Owners that it does not map are kept in the attribute user.containers.override_stat, as by containers/storage, and the
file belongs to the namespace's root.
"""

from __future__ import annotations

import errno
import os
import stat

from storage.tar.places import set_xattr
from storage.tar.reader import DIRECTORY, Entry

OVERRIDE = b"user.containers.override_stat"

# attributes that steer the drivers themselves: an image must not set them
_OURS = (b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.")
_ALLOWED = frozenset((b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"))
_UNCHANGED = 0xFFFFFFFF  # what chown(2) takes for "leave it"


class Attributes:
    """Gives files what their entries say. `single`: only one id is mapped. `squashed` counts the owners, `skipped` the
    attributes that were out of reach, `foreign` the entries that are not root's."""

    def __init__(self, single: bool) -> None:
        self._single = single
        self.foreign = 0
        self.squashed = 0
        self.skipped = 0

    def own(self, target: int, base: bytes | None, entry: Entry) -> bool:
        """Give the file open as `target`, or `base` in the directory open as `target`, its owner; whether that was
        out of reach, so that it is root's and its own owner a note."""
        if entry.uid or entry.gid:
            self.foreign += 1
        if not self._single and entry.uid != _UNCHANGED and entry.gid != _UNCHANGED:
            try:
                if base is None:
                    os.fchown(target, entry.uid, entry.gid)
                else:
                    os.chown(base, entry.uid, entry.gid, dir_fd=target, follow_symlinks=False)
                return False
            except (OSError, OverflowError) as error:
                if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EPERM):
                    raise
        elif not (entry.uid or entry.gid):
            return False
        self.squashed += 1
        value = b"%d:%d:0%o" % (entry.uid, entry.gid, entry.mode & 0o7777)
        try:
            if base is None:
                os.setxattr(target, OVERRIDE, value)
            elif entry.kind == DIRECTORY:
                set_xattr(target, base, OVERRIDE, value)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
        return True

    def extend(self, directory: int, base: bytes, entry: Entry) -> None:
        for key, value in (entry.xattrs or {}).items():
            if key.startswith(_OURS) or b"\0" in key:
                continue
            if not is_kept(key):
                self.skipped += 1
                continue
            try:
                set_xattr(directory, base, key, value)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.ERANGE, errno.E2BIG):
                    raise
                self.skipped += 1


def is_kept(key: bytes) -> bool:
    """Whether layers carry the extended attribute of this name."""
    return (key.startswith(b"user.") or key in _ALLOWED) and not key.startswith(_OURS)


def harmless(entry: Entry) -> int:
    """The mode of a file that is root's now: somebody else's program must not run as root for that."""
    mode = entry.mode & 0o7777
    if entry.uid:
        mode &= ~stat.S_ISUID
    if entry.gid:
        mode &= ~stat.S_ISGID
    return mode
