"""Paths inside a root file system that is not ours to trust: they never lead out of it, whatever links it holds."""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import ImageError
from rootless.kernel.files import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)

_MOST_LINKS = 40  # as many as the kernel follows
_FOREIGN = "the directory belongs to a user who has no id in the container, so nothing can be made in it"


def open_inside(root: int, path: str, no_links: bool = False, same_mount: bool = False) -> int:
    """An O_PATH descriptor of what `path` is when `root` is taken for "/". With `no_links` no part of it may be a
    symbolic link (OSError with ELOOP), with `same_mount` none on another mount (EXDEV). Raises OSError."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    if no_links:
        resolve |= RESOLVE_NO_SYMLINKS
    if same_mount:
        resolve |= RESOLVE_NO_XDEV
    return openat2(root, path.lstrip("/") or ".", os.O_PATH, resolve=resolve)


def mount_point(root: int, path: str, directory: bool, no_links: bool = False) -> int:
    """An O_PATH descriptor of the place to mount on, which is made where it is missing: a directory or an empty file,
    and the directories above it. Links that dangle are followed too, inside `root`.

    Raises ImageError where the image forbids it: a link where there may be none, a file where a directory must be.
    """
    try:
        try:
            return open_inside(root, path, no_links)
        except FileNotFoundError:
            return _make(root, path, directory, no_links)
    except OSError as error:
        if error.errno == errno.ELOOP and no_links:
            what = "part of that path is a symbolic link in the image"
        else:
            what = os.strerror(error.errno or 0)
        hint = _FOREIGN if error.errno in (errno.EACCES, errno.EPERM, errno.EOVERFLOW) else None
        raise ImageError(f"making the mount point {path}: {what}", hint) from None


def _make(root: int, path: str, directory: bool, no_links: bool) -> int:
    """Walk by hand, one component after the other, each on the descriptor of the one before."""
    names = [name for name in path.split("/") if name not in ("", ".")][::-1]
    trail = [os.dup(root)]
    links = 0
    try:
        while names:
            name = names.pop()
            if name == "..":
                if len(trail) > 1:
                    os.close(trail.pop())
                continue
            here = trail[-1]
            try:
                found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except FileNotFoundError:
                if names or directory:
                    os.mkdir(name, 0o755, dir_fd=here)
                else:
                    os.mknod(name, stat.S_IFREG | 0o644, dir_fd=here)
                names.append(name)
                continue
            if stat.S_ISLNK(os.fstat(found).st_mode):
                links += 1
                target = os.readlink("", dir_fd=found)
                os.close(found)
                if no_links or links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, "", path)
                if target.startswith("/"):
                    while len(trail) > 1:
                        os.close(trail.pop())
                names += [part for part in target.split("/") if part not in ("", ".")][::-1]
                continue
            trail.append(found)
        return trail.pop()
    finally:
        for fd in trail:
            os.close(fd)
