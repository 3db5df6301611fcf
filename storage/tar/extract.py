"""Applies the entries of a layer's tar to the current root (the process is chrooted into the layer's `diff`).

Whiteouts become what overlayfs and fuse-overlayfs both read: a character device 0:0 (which needs no privilege since
Linux 5.8) for a deleted name, the attribute user.overlay.opaque for a directory that hides what lies below it. Where
even that device is refused, `.wh.NAME` stays as a file, which fuse-overlayfs and our vfs understand.

Devices, which nobody may make here, live only in the record of the layer.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import ImageError, StorageError
from storage.tar.attributes import Attributes, harmless
from storage.tar.places import Places, clean, is_whiteout, set_opaque
from storage.tar.reader import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, HARD_LINK, SYMLINK, Entry, TarReader
from storage.tar.record import Lost, RecordWriter, open_below, write_lost

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_CHECK_SPACE_EVERY = 64 << 20
_LONGEST_WHITEOUT = 1 << 20
_MAX_NS = (1 << 62) - 1
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENOMEM))


class Limits:
    """What a layer may cost: bytes written, entries, and how much of the disk it must leave free."""

    __slots__ = ("max_bytes", "max_entries", "reserve")

    def __init__(self, max_bytes: int = 1 << 42, max_entries: int = 50_000_000, reserve: int = 64 << 20) -> None:
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.reserve = reserve


class Extractor:
    """Extracts one layer into the process' root. `layer_fd` is the directory that holds `diff` and the record;
    `single` says that only one id is mapped, so that every owner is squashed."""

    def __init__(self, layer_fd: int, record: RecordWriter, single: bool, limits: Limits) -> None:
        self._layer_fd = layer_fd
        self._record = record
        self._attributes = Attributes(single)
        self._limits = limits
        self._root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._places = Places(self._root_fd)
        self._setgid_seen = False
        self._dir_times: dict[bytes, int] = {}
        self._lost: Lost = {}
        self._lost_count = 0
        self._next_check = 0
        self.entries = 0
        self.size = 0
        self.missing_links: list[tuple[bytes, bytes]] = []

    @property
    def foreign(self) -> int:
        """Entries that do not belong to root."""
        return self._attributes.foreign

    @property
    def squashed(self) -> int:
        """Entries whose owner could not be kept."""
        return self._attributes.squashed

    @property
    def skipped(self) -> int:
        """Devices and attributes that could not be made."""
        return self._attributes.skipped

    @property
    def implied(self) -> list[bytes]:
        """Directories that had to be made and that no entry describes."""
        return sorted(self._places.implied)

    def run(self, reader: TarReader) -> None:
        """Extract every entry. Raises ImageError for what the layer must not hold, StorageError for a full disk."""
        os.umask(0)
        record = self._record
        handlers = {
            FILE: self._file,
            DIRECTORY: self._directory,
            SYMLINK: self._symlink,
            HARD_LINK: self._hard_link,
            FIFO: self._fifo,
            CHARACTER: self._device,
            BLOCK: self._device,
        }
        for entry in reader:
            self.entries += 1
            if self.entries > self._limits.max_entries:
                raise ImageError(f"extracting: more than {self._limits.max_entries} entries")
            record.raw(entry.raw)
            name = clean(entry.name, "name")
            try:
                if b".wh." in name and self._marks(name, entry, reader):
                    continue
                handler = handlers.get(entry.kind)
                if handler is None:
                    raise ImageError(f"extracting {entry.name!r}: entries of type {entry.kind!r} are not known")
                handler(name, entry, reader)
            except OSError as error:
                raise _told(entry.name, error) from None
        for piece in reader.tail:
            record.raw(piece)
        self._finish_directories()
        if self._lost:
            write_lost(self._layer_fd, self._lost)

    # one method for each kind of entry

    def _file(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        if not name:
            raise ImageError("extracting: a file in place of the layer's root")
        directory, real, base = self._places.parent(name)
        mode = entry.mode
        try:
            fd = os.open(base, _CREATE, mode & 0o777, dir_fd=directory)
        except FileExistsError:
            directory = self._clear(directory, real, base)[0]
            fd = os.open(base, _CREATE, mode & 0o777, dir_fd=directory)
        try:
            if entry.stored:
                self._write(fd, _join(real, base), entry, reader)
            elif entry.sparse is not None:
                os.ftruncate(fd, entry.size)
            if entry.uid or entry.gid or self._setgid_seen or mode & _SPECIAL:
                squashed = self._attributes.own(fd, None, entry)
                if mode & _SPECIAL:
                    os.fchmod(fd, harmless(entry) if squashed else mode & 0o7777)
            if entry.xattrs:
                self._attributes.extend(directory, base, entry)
            when = _clamp(entry.mtime)
            os.utime(fd, ns=(when, when))
        finally:
            os.close(fd)

    def _write(self, fd: int, path: bytes, entry: Entry, reader: TarReader) -> None:
        self.size += entry.stored
        if self.size >= self._next_check:
            self._check_space(entry)
        if entry.sparse is not None:
            windows = [window for window in entry.sparse if window[1]]
            self._write_sparse(fd, windows, reader)
            os.ftruncate(fd, entry.size)
        else:
            windows = [(0, entry.stored)]
            data = reader.whole_payload()
            if data is not None:
                if os.write(fd, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            else:
                for piece in reader.payload():
                    while piece:
                        piece = piece[os.write(fd, piece) :]
        self._record.file(self.entries, path, windows)

    def _write_sparse(self, fd: int, windows: list[tuple[int, int]], reader: TarReader) -> None:
        pieces = reader.payload()
        piece = memoryview(b"")
        for offset, length in windows:
            while length:
                if not piece:
                    piece = next(pieces)
                done = os.pwrite(fd, piece[:length], offset)
                piece = piece[done:]
                offset += done
                length -= done
        for _ in pieces:  # runs the generator to its end
            pass

    def _directory(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        if not name:
            self._directory_attributes(self._root_fd, b"", b"", entry, True)
            return
        directory, real, base = self._places.parent(name)
        mode = entry.mode
        existed = False
        opaque = False
        try:
            os.mkdir(base, mode & 0o777, dir_fd=directory)
        except FileExistsError:
            found = os.stat(base, dir_fd=directory, follow_symlinks=False)
            existed = stat.S_ISDIR(found.st_mode)
            if not existed:
                directory, opaque = self._clear(directory, real, base)
                os.mkdir(base, mode & 0o777, dir_fd=directory)
        path = _join(real, base)
        self._places.made(path)
        if opaque:
            set_opaque(directory, base)
        self._directory_attributes(directory, base, path, entry, existed)

    def _directory_attributes(self, directory: int, base: bytes, path: bytes, entry: Entry, existed: bool) -> None:
        mode = entry.mode
        if mode & stat.S_ISGID:
            self._setgid_seen = True
        if existed or entry.uid or entry.gid or self._setgid_seen:
            self._attributes.own(directory, base or b".", entry)
        if existed or mode & _SPECIAL or self._setgid_seen:
            os.chmod(base or b".", mode & 0o7777, dir_fd=directory)
        if entry.xattrs:
            self._attributes.extend(directory, base, entry)
        self._dir_times[path] = _clamp(entry.mtime)

    def _symlink(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        directory, base, real = self._place(name)
        try:
            os.symlink(entry.link, base, dir_fd=directory)
        except FileExistsError:
            directory = self._clear(directory, real, base)[0]
            os.symlink(entry.link, base, dir_fd=directory)
        self._finish_other(directory, base, entry)

    def _fifo(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        directory, base, real = self._place(name)
        try:
            os.mkfifo(base, entry.mode & 0o777, dir_fd=directory)
        except FileExistsError:
            directory = self._clear(directory, real, base)[0]
            os.mkfifo(base, entry.mode & 0o777, dir_fd=directory)
        self._finish_other(directory, base, entry)

    def _finish_other(self, directory: int, base: bytes, entry: Entry) -> None:
        if entry.uid or entry.gid or self._setgid_seen:
            self._attributes.own(directory, base, entry)
        if entry.kind == FIFO and entry.mode & _SPECIAL:
            os.chmod(base, entry.mode & 0o7777, dir_fd=directory)
        if entry.xattrs:
            self._attributes.extend(directory, base, entry)
        when = _clamp(entry.mtime)
        os.utime(base, ns=(when, when), dir_fd=directory, follow_symlinks=False)

    def _hard_link(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        directory, base, real = self._place(name)
        target = clean(entry.link, "link target")
        if not target:
            raise ImageError(f"extracting {entry.name!r}: a hard link to the layer's root")
        try:
            source, source_real, source_base = self._places.existing_parent(target)
        except FileNotFoundError:
            self.missing_links.append((_join(real, base), target))
            return
        try:
            found = os.stat(source_base, dir_fd=source, follow_symlinks=False)
            if is_whiteout(found):
                raise FileNotFoundError
            if stat.S_ISDIR(found.st_mode):
                raise ImageError(f"extracting {entry.name!r}: a hard link to a directory")
            if (source_real, source_base) == (real, base):
                return
            try:
                os.link(source_base, base, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
            except FileExistsError:
                directory = self._clear(directory, real, base)[0]
                os.link(source_base, base, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            self.missing_links.append((_join(real, base), target))
        finally:
            os.close(source)

    def _device(self, name: bytes, entry: Entry, reader: TarReader) -> None:
        """No user namespace may make devices, and a 0:0 one would be taken for a whiteout: the record has it."""
        self._place(name)
        self._attributes.skipped += 1

    def _marks(self, name: bytes, entry: Entry, reader: TarReader) -> bool:
        """Take `.wh.` names for what they mean; False where `name` is none (as in `a.wh.b`)."""
        base = name.rpartition(b"/")[2]
        if not base.startswith(WHITEOUT):
            return False
        if entry.stored > _LONGEST_WHITEOUT:
            raise ImageError(f"extracting {entry.name!r}: a whiteout of {entry.stored} bytes")
        reader.payload_to_raw()
        directory, real, _ = self._places.parent(name)
        if base == OPAQUE:
            set_opaque(self._root_fd if not real else directory, b"")
            return True
        if base.startswith(b".wh..wh."):
            return True  # notes of AUFS to itself
        hidden = base[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise ImageError(f"extracting {entry.name!r}: a whiteout of nothing that could be deleted")
        try:
            found = os.stat(hidden, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            self._whiteout(directory, hidden)
            return True
        # the layer's own file hides what is below anyway; its directory has to be told to (OCI image spec, whiteouts)
        if stat.S_ISDIR(found.st_mode):
            set_opaque(directory, hidden)
        return True

    def _whiteout(self, directory: int, hidden: bytes) -> None:
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=directory)
        except PermissionError:
            os.close(os.open(WHITEOUT + hidden, _CREATE, 0o600, dir_fd=directory))

    # what they share

    def _place(self, name: bytes) -> tuple[int, bytes, bytes]:
        if not name:
            raise ImageError("extracting: the layer's root is not a directory")
        directory, real, base = self._places.parent(name)
        return directory, base, real

    def _clear(self, directory: int, real: bytes, base: bytes) -> tuple[int, bool]:
        """Make room at `base`: a whiteout goes, anything else of this layer moves to `lost`, for the record.

        Returns a descriptor of the parent directory, and whether what went was a whiteout.
        """
        found = os.stat(base, dir_fd=directory, follow_symlinks=False)
        if is_whiteout(found):
            os.unlink(base, dir_fd=directory)
            return directory, True
        path = _join(real, base)
        if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            if not self._lost_count:
                os.mkdir("lost", 0o700, dir_fd=self._layer_fd)
            number = self._lost_count
            self._lost_count += 1
            os.rename(base, b"lost/%d" % number, src_dir_fd=directory, dst_dir_fd=self._layer_fd)
            self._lost.setdefault(path, []).append((self.entries, number))
        else:
            os.unlink(base, dir_fd=directory)
        if not stat.S_ISREG(found.st_mode):
            self._places.forget()
            below = path + b"/"
            self._dir_times = {
                other: when for other, when in self._dir_times.items() if other != path and not other.startswith(below)
            }
            directory = self._places.parent(path)[0]
        return directory, False

    def _check_space(self, entry: Entry) -> None:
        self._next_check = self.size + _CHECK_SPACE_EVERY
        if self.size > self._limits.max_bytes:
            raise ImageError(f"extracting {entry.name!r}: the layer is larger than {self._limits.max_bytes} bytes")
        free = os.fstatvfs(self._root_fd)
        if free.f_bavail * free.f_frsize < self._limits.reserve + entry.stored:
            raise _told(entry.name, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _finish_directories(self) -> None:
        """Times of directories come last: every file made in one has changed them."""
        os.fchdir(self._root_fd)
        for path, when in self._dir_times.items():
            if len(path) < 4000:
                os.utime(path or b".", ns=(when, when), follow_symlinks=False)
            else:
                fd = open_below(path, os.O_RDONLY | os.O_DIRECTORY, self._root_fd)
                os.utime(fd, ns=(when, when))
                os.close(fd)


def _join(real: bytes, base: bytes) -> bytes:
    return real + b"/" + base if real else base


def _clamp(nanoseconds: int) -> int:
    return max(-_MAX_NS, min(_MAX_NS, nanoseconds))


def _told(name: bytes, error: OSError) -> StorageError:
    what = f"extracting {name!r}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(what, "free space where the store is, or choose another place with --root")
    if error.errno in _FULL:
        return StorageError(what)
    return ImageError(what)
