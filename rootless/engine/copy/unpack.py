"""What `cp` writes: the entries of a tar stream, at a place.

A name is never walked by the kernel beyond the target: each directory is opened on the descriptor of the one above it,
without following a link. A file that takes the place of another does so whole, by a rename.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from rootless.engine.copy.place import Place, failure, is_directory
from rootless.errors import ConflictError, ImageError, NotFoundError
from rootless.kernel.files import remove_tree, write_all
from storage.tar.reader import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Entry, TarReader

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY = 1 << 24


class Unpacker:
    """Writes to `place`. `owner`: (uid, gid) of all that is made, or None for those of the entries; on the host, where
    files can only be ours, they lose their set-user-ID bits instead. `overwrite`: files may take the place of
    directories, and directories that of files. `skipped` counts devices, which users may not make."""

    def __init__(self, place: Place, doing: str, owner: tuple[int, int] | None, overwrite: bool) -> None:
        self._place = place
        self._doing = doing
        self._owner = owner
        self._overwrite = overwrite
        self._parents: list[tuple[bytes, int]] = []  # the directories that lead to the last entry, open
        self._top = -1
        self._above: bytes | None = None  # in an archive of the user's: the path that its names are relative to
        self._last: tuple[bytes, int] | None = None
        self._times: list[tuple[bytes, Entry]] = []
        self.skipped = 0

    def put(self, read: Callable[[], bytes], path: bytes, base: bytes) -> None:
        """Write the tree of a Packer, or its one file, where `path` says: into the directory that is there, as `base`
        (its contents, where that is empty), or as `path` itself where nothing or a file is there.

        Raises NotFoundError, ConflictError, RootlessError.
        """
        reader = TarReader(read)
        name = None
        for entry in reader:
            if name is None:
                self._top, name = self._target(path, base, entry)
            parts = entry.name.strip(b"/").split(b"/")
            if len(parts) > 1:
                self._put(b"/".join([name, *parts[1:]] if name else parts[1:]), entry, reader, name)
            elif name:
                self._put(name, entry, reader, name)
        self._finish()

    def extract(self, read: Callable[[], bytes], path: bytes) -> None:
        """Write an archive of the user's into the directory `path` of a container. Links on the way are followed,
        inside of the container. Raises NotFoundError, ConflictError, ImageError, RootlessError."""
        top = self._look(path)
        if top is None:
            raise NotFoundError(f"{self._doing}: {os.fsdecode(path)} does not exist", "name a directory that is there")
        if not is_directory(top):
            raise ConflictError(f"{self._doing}: {os.fsdecode(path)} is not a directory")
        self._top, self._above = top, path
        reader = TarReader(read)
        for entry in reader:
            name = self._clean(entry.name)
            if name:
                self._put(name, entry, reader, b"")
        self._finish()

    def _target(self, path: bytes, base: bytes, entry: Entry) -> tuple[int, bytes]:
        """The directory that gets the first entry, and the entry's name in it; b"" where it is that directory."""
        comes = entry.kind == DIRECTORY
        there = self._look(path)
        shown = os.fsdecode(path)
        if there is not None and is_directory(there):
            return there, base
        if there is None and not comes and path.endswith((b"/", b"/.")):
            raise NotFoundError(f"{self._doing}: the directory {shown} does not exist")
        if there is not None and comes:
            raise ConflictError(f"{self._doing}: {shown} is a file: a directory cannot be copied to it")
        try:
            directory, name = self._place.last_name(path)
        except FileNotFoundError:
            missing = os.fsdecode(os.path.dirname(path.rstrip(b"/"))) or "."
            raise NotFoundError(f"{self._doing}: the directory {missing} does not exist") from None
        except OSError as error:
            raise failure(self._doing, error, path) from None
        if name in (b"", b".", b".."):
            raise NotFoundError(f"{self._doing}: {shown} does not exist")
        return directory, name

    def _look(self, path: bytes) -> int | None:
        try:
            return self._place.find(path)
        except OSError as error:
            raise failure(self._doing, error, path) from None

    def _clean(self, name: bytes) -> bytes:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts or b"\0" in name:
            raise ImageError(f"{self._doing}: {os.fsdecode(name)!r} in the archive leads out of the directory")
        return b"/".join(parts)

    def _put(self, name: bytes, entry: Entry, reader: TarReader, top: bytes) -> None:
        try:
            parent, _, base = name.rpartition(b"/")
            directory = self._parent(parent)
            if entry.kind == FILE:
                self._file(directory, base, entry, reader)
            elif entry.kind == DIRECTORY:
                self._directory(directory, base, name, entry)
            elif entry.kind == HARD_LINK:
                self._hard_link(directory, base, name, entry, top)
            elif entry.kind in (SYMLINK, FIFO):
                self._make_room(directory, base, entry)
                if entry.kind == SYMLINK:
                    os.symlink(entry.link, base, dir_fd=directory)
                else:
                    os.mkfifo(base, 0o600, dir_fd=directory)
                self._own(directory, base, entry)
                if entry.kind == FIFO:
                    os.chmod(base, self._mode(entry), dir_fd=directory)
                os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)
            elif entry.kind in (CHARACTER, BLOCK):
                self.skipped += 1
            else:
                raise ImageError(f"{self._doing}: entries of type {entry.kind!r} are not known")
        except OSError as error:
            raise failure(self._doing, error, name) from None

    # directories on the way

    def _parent(self, path: bytes) -> int:
        """The directory `path` below the target, open."""
        if not path:
            return self._top
        if self._above is not None:
            if self._last is None or self._last[0] != path:
                if self._last is not None:
                    os.close(self._last[1])
                    self._last = None
                self._last = (path, self._place.make_directory(self._above + b"/" + path))
            return self._last[1]
        names = path.split(b"/")
        same = 0
        for (name, _), wanted in zip(self._parents, names, strict=False):
            if name != wanted:
                break
            same += 1
        while len(self._parents) > same:
            os.close(self._parents.pop()[1])
        for name in names[same:]:
            above = self._parents[-1][1] if self._parents else self._top
            self._parents.append((name, os.open(name, _OPEN, dir_fd=above)))
        return self._parents[-1][1]

    def _finish(self) -> None:
        """Give the new directories their modes and times, now that nothing is made in them any more."""
        for name, entry in reversed(self._times):
            try:
                parent, _, base = name.rpartition(b"/")
                directory = os.open(base, _OPEN, dir_fd=self._parent(parent))
                self._own(directory, b".", entry)
                self._extend(directory, entry)
                os.chmod(f"/proc/self/fd/{directory}", self._mode(entry))
                os.utime(f"/proc/self/fd/{directory}", ns=(entry.mtime, entry.mtime))
                os.close(directory)
            except FileNotFoundError:
                pass  # the container has removed it meanwhile
            except OSError as error:
                raise failure(self._doing, error, name) from None

    # one method for each kind of entry

    def _directory(self, directory: int, base: bytes, name: bytes, entry: Entry) -> None:
        """One that is there keeps its owner and mode, as files that it has keep theirs."""
        try:
            os.mkdir(base, (entry.mode & 0o777) | 0o700, dir_fd=directory)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(base, dir_fd=directory, follow_symlinks=False).st_mode):
                return
            if self._above is not None and self._leads_to_directory(name):
                return
            self._make_room(directory, base, entry)
            os.mkdir(base, (entry.mode & 0o777) | 0o700, dir_fd=directory)
        self._times.append((name, entry))

    def _leads_to_directory(self, name: bytes) -> bool:
        """Whether a link of the container's is where an archive has a directory: /lib, say."""
        assert self._above is not None
        found = self._look(self._above + b"/" + name)
        if found is None:
            return False
        leads = is_directory(found)
        os.close(found)
        return leads

    def _file(self, directory: int, base: bytes, entry: Entry, reader: TarReader) -> None:
        there = self._make_room(directory, base, entry)
        new = b".rootless-cp-" + os.urandom(6).hex().encode() if there else base
        try:
            fd = os.open(new, _NEW, 0o600, dir_fd=directory)
        except OSError as error:
            if not there or error.errno not in (errno.EROFS, errno.EACCES, errno.ENAMETOOLONG):
                raise
            self._write_over(directory, base, entry, reader)
            return
        try:
            try:
                _fill(fd, entry, reader)
                self._own(fd, None, entry)
                self._extend(fd, entry)
                os.fchmod(fd, self._mode(entry))
                os.utime(fd, ns=(entry.mtime, entry.mtime))
            finally:
                os.close(fd)
            if there:
                try:
                    os.rename(new, base, src_dir_fd=directory, dst_dir_fd=directory)
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        raise
                    _copy_over(directory, new, base)  # a file that is mounted there cannot be replaced
                    os.unlink(new, dir_fd=directory)
        except BaseException:
            try:
                os.unlink(new, dir_fd=directory)
            except OSError:
                pass
            raise

    def _write_over(self, directory: int, base: bytes, entry: Entry, reader: TarReader) -> None:
        """Give a file, in a directory where none can be made, new content."""
        fd = _open_regular(directory, base)
        try:
            _fill(fd, entry, reader)
        finally:
            os.close(fd)

    def _hard_link(self, directory: int, base: bytes, name: bytes, entry: Entry, top: bytes) -> None:
        if self._above is not None:
            target = self._clean(entry.link)
        else:
            target = b"/".join(part for part in (top, *entry.link.split(b"/")[1:]) if part)
        if target == name or not target:
            return
        self._make_room(directory, base, entry)
        parent, _, first = target.rpartition(b"/")
        keep = os.open(".", _OPEN, dir_fd=directory)  # looking for the other may close ours
        try:
            os.link(first, base, src_dir_fd=self._parent(parent), dst_dir_fd=keep, follow_symlinks=False)
        finally:
            os.close(keep)

    def _make_room(self, directory: int, base: bytes, entry: Entry) -> bool:
        """See to it that `base` can be made; whether there is a file, which a new one replaces by its rename.

        Raises ConflictError where a directory is to give way to something else, or the reverse, unasked.
        """
        try:
            found = os.stat(base, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        there, comes = stat.S_ISDIR(found.st_mode), entry.kind == DIRECTORY
        if there != comes and not self._overwrite:
            kind, other = ("directory", "something else") if there else ("file or link", "a directory")
            shown = os.fsdecode(base)
            raise ConflictError(f"{self._doing}: {shown} is a {kind} there: it is not replaced by {other}", _HINT)
        if there:
            left = remove_tree(f"/proc/self/fd/{directory}/{os.fsdecode(base)}")
            if left:
                raise ConflictError(f"{self._doing}: {os.fsdecode(base)} cannot be removed: something is mounted there")
            return False
        if entry.kind == FILE and stat.S_ISREG(found.st_mode):
            return True
        os.unlink(base, dir_fd=directory)
        return False

    # attributes

    def _mode(self, entry: Entry) -> int:
        if self._place.root is None:
            return entry.mode & (0o1777 if entry.kind == DIRECTORY else 0o777)
        return entry.mode & 0o7777

    def _own(self, target: int, base: bytes | None, entry: Entry) -> None:
        if self._place.root is None:
            return
        uid, gid = self._owner or (entry.uid, entry.gid)
        try:
            if base is None:
                os.fchown(target, uid, gid)
            else:
                os.chown(base, uid, gid, dir_fd=target, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EPERM):
                raise  # an id that is not mapped leaves it root's

    def _extend(self, fd: int, entry: Entry) -> None:
        for name, value in (entry.xattrs or {}).items():
            if name.startswith(b"user.") or (name == b"security.capability" and self._place.root is not None):
                try:
                    os.setxattr(f"/proc/self/fd/{fd}", name, value)
                except OSError as error:
                    if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.E2BIG):
                        raise


_HINT = "use --overwrite if it is to be replaced"


def _fill(fd: int, entry: Entry, reader: TarReader) -> None:
    if entry.sparse is None:
        for piece in reader.payload():
            write_all(fd, piece)
        return
    windows = iter([window for window in entry.sparse if window[1]])
    offset, left = next(windows, (0, 0))
    for piece in reader.payload():
        while piece:
            if not left:
                offset, left = next(windows)
            done = os.pwrite(fd, piece[:left], offset)
            piece = piece[done:]
            offset += done
            left -= done
    os.ftruncate(fd, entry.size)


def _open_regular(directory: int, base: bytes) -> int:
    fd = os.open(base, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.ftruncate(fd, 0)  # EINVAL for what is no regular file
    except OSError:
        os.close(fd)
        raise
    return fd


def _copy_over(directory: int, new: bytes, base: bytes) -> None:
    source = os.open(new, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        target = _open_regular(directory, base)
        try:
            while os.sendfile(target, source, None, _COPY):
                pass
        finally:
            os.close(target)
    finally:
        os.close(source)
