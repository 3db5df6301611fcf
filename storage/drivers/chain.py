"""Applies extracted layers one over another into a directory, as overlayfs would show them."""

from __future__ import annotations

import errno
import os
import shutil
import stat

from rootless.errors import StorageError
from rootless.kernel.files import reflink
from storage.layout import drop_default_acl

_WHITEOUT = ".wh."
_OPAQUE = "user.overlay.opaque"
_PIECE = 1 << 30
_NOFOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC


class _Copier:
    """Copies one layer; `links` are the files of it that have several names, by inode, with the first copy's path."""

    def __init__(self) -> None:
        self.links: dict[int, str] = {}

    def directory(self, source: str, target: str, existed: bool) -> None:
        """Apply the directory `source` to `target`, which exists as a directory."""
        if existed and _is_opaque(source):
            _empty(target)
        with os.scandir(source) as entries:
            for entry in entries:
                self._entry(entry, f"{target}/{entry.name}", existed)
        copy_attributes(source, target)

    def _entry(self, entry: os.DirEntry[str], target: str, existed: bool) -> None:
        found = entry.stat(follow_symlinks=False)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFCHR and found.st_rdev == 0:
            _remove(target)
            return
        if entry.name.startswith(_WHITEOUT) and kind == stat.S_IFREG:
            _remove(os.path.dirname(target) + "/" + entry.name[len(_WHITEOUT) :])
            return
        if kind == stat.S_IFDIR:
            there = existed and _is_directory(target)
            if not there:
                if existed:
                    _remove(target)
                os.mkdir(target, 0o700)
            self.directory(entry.path, target, there)
            return
        if existed:
            _remove(target)
        if found.st_nlink > 1:
            first = self.links.setdefault(found.st_ino, target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if kind == stat.S_IFREG:
            copy_file(entry.path, target, found.st_size)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(entry.path), target)
        else:
            os.mknod(target, found.st_mode, found.st_rdev)
        copy_attributes(entry.path, target)


def copy_file(source: str, target: str, size: int) -> None:
    """Make `target` a file of the same content: sharing its blocks where the file system can, else with its holes."""
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600)
        try:
            if size and not reflink(writer, reader):
                _copy_data(reader, writer, size)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def copy_chain(diffs: list[str], target: str) -> None:
    """Make the directory `target` out of the layers `diffs`, bottom first. Raises StorageError."""
    try:
        os.umask(0)
        os.mkdir(target, 0o755)
    except OSError as error:
        raise StorageError(f"making {target}: {error.strerror}") from None
    apply_chain(diffs, target)


def apply_chain(diffs: list[str], target: str) -> None:
    """Fill the empty directory `target` with the layers `diffs`, bottom first; the umask is 0. Raises StorageError."""
    try:
        drop_default_acl(target)
        for index, diff in enumerate(diffs):
            _Copier().directory(diff, target, index > 0)
    except OSError as error:
        name = os.fsdecode(error.filename2 or error.filename or target)
        raise StorageError(
            f"copying the layers: {name}: {error.strerror}",
            "free space where the store is" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None,
        ) from None


def _copy_data(reader: int, writer: int, size: int) -> None:
    """The data of a file; holes stay holes."""
    at = 0
    while at < size:
        try:
            at = os.lseek(reader, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole up to the end
                raise
            break
        end = os.lseek(reader, at, os.SEEK_HOLE)
        while at < end:
            done = _copy_range(reader, writer, min(end - at, _PIECE), at)
            if not done:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            at += done
    os.ftruncate(writer, size)


def _copy_range(reader: int, writer: int, count: int, at: int) -> int:
    try:
        return os.copy_file_range(reader, writer, count, at, at)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    os.lseek(writer, at, os.SEEK_SET)
    return os.write(writer, os.pread(reader, min(count, 1 << 20), at))


def copy_attributes(source: str, target: str, follow: bool = False) -> None:
    """Owner, mode, extended attributes, times, in the order in which none undoes another."""
    found = os.stat(source, follow_symlinks=follow)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(target, found.st_mode & 0o7777)
    for name in os.listxattr(source, follow_symlinks=follow):
        if name.startswith(("user.overlay.", "security.selinux")):
            continue
        value = os.getxattr(source, name, follow_symlinks=follow)
        try:
            os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EINVAL):
                raise
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _remove(path: str) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def _empty(path: str) -> None:
    with os.scandir(path) as entries:
        names = [entry.path for entry in entries]
    for name in names:
        _remove(name)
