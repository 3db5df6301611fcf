"""The files of a volume as a tar, and back.

A tar that comes in is extracted beside the volume first, by a child inside the mapped user namespace that is chrooted
there (as layers are): what is damaged or hostile changes nothing. Then its files are moved into the volume, over what
lies there; containers may be using it meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from rootless.errors import ImageError, NotFoundError, StorageError
from rootless.kernel.files import sync_file_system
from storage.changes.tree import Tree
from storage.changes.work import write_tree
from storage.drafts import locked_directory
from storage.layers.child import Stream, maps_one_id, preload, reader_of
from storage.layout import drop_default_acl
from storage.store import Store
from storage.tar.extract import Extractor, Limits
from storage.tar.reader import Entry, TarReader
from storage.tar.record import RecordWriter
from storage.volumes.options import VolumeSettings
from storage.volumes.rows import Volume, drop_half_made, find_volume, make_volume_directory

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LEVELS = 200


def export_volume(store: Store, volume: Volume, out: int) -> None:
    """Write the volume's files to the open descriptor `out`: sorted, so that the same files make the same bytes.

    Raises StorageError, BrokenPipeError where nobody reads any more.
    """
    place = _place(store, volume, "exporting")
    tree = Tree(((place, False),), store.user_map.single)
    store.user_namespace().run(write_tree, tree, out, True, keep_fds=[out])


def import_volume(store: Store, volume: Volume, source: int) -> tuple[int, int]:
    """Put the files of the tar that the open descriptor `source` gives, compressed or not, into the volume.

    Returns how many entries there were, and how many devices and attributes could not be made. Raises ImageError for a
    tar that is damaged or hostile, StorageError.
    """
    if VolumeSettings(volume.options).kind == "bind":
        raise StorageError(
            f"importing into {volume.name}: its files are a directory of yours",
            f"tar -C {volume.options['device']} -xf FILE",
        )
    target = _place(store, volume, "importing into")
    preload()
    store.layers.sweep()
    place, lock = locked_directory(store.layout, "layer-")
    opened: list[int] = []
    try:
        os.mkdir(f"{place}/diff", 0o755)
        for path in (place, target):
            opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        counts: tuple[int, int] = store.user_namespace().run(
            _import, source, *opened, mount_ns=True, keep_fds=[source, *opened]
        )
    except ImageError as error:
        raise ImageError(f"importing into {volume.name}: {error.message}", error.hint) from None
    finally:
        for fd in opened:
            os.close(fd)
        store.layers.delete(place)
        os.close(lock)
    find_volume(store.db, volume.name)  # somebody may have removed it: then its files have gone with it
    return counts


def _place(store: Store, volume: Volume, doing: str) -> str:
    settings = VolumeSettings(volume.options) if volume.driver == "local" else None
    if settings is not None and settings.kind == "tmpfs":
        raise StorageError(
            f"{doing} {volume.name}: its files are in the memory of containers that run",
            "rootless exec CONTAINER tar -C PATH ...",
        )
    if settings is not None and settings.kind == "bind":
        if not os.path.isdir(settings.device):
            raise NotFoundError(f"{doing} {volume.name}: {settings.device} is not there")
        return settings.device
    drop_half_made(store, volume.name)
    return make_volume_directory(store.layout, volume.name)


class _NoRecord(RecordWriter):
    """Keeps nothing: a volume's tar is never rebuilt."""

    def __init__(self) -> None:
        pass

    def raw(self, data: bytes) -> None:
        pass

    def file(self, entry: int, path: bytes, windows: object) -> None:
        pass

    def close(self) -> None:
        pass


class _FileExtractor(Extractor):
    """Extracts files as they are: in a volume nothing lies below that a `.wh.` name could hide."""

    def _marks(self, name: bytes, entry: Entry, reader: TarReader) -> bool:
        return False

    def describes(self, path: bytes) -> bool:
        """Whether an entry was about the directory `path`."""
        return path in self._dir_times


def _import(source: int, place: int, target: int) -> tuple[int, int]:
    """The child: extract into `place`/diff, then move all of it into `target`."""
    os.fchdir(place)
    drop_default_acl("diff")
    single = maps_one_id()
    os.chroot("diff")
    os.chdir("/")
    extractor = _FileExtractor(place, _NoRecord(), single, Limits())
    stream = Stream(reader_of(source, None))
    extractor.run(TarReader(stream.next_piece))
    if extractor.missing_links:
        link, name = extractor.missing_links[0]
        raise ImageError(f"{os.fsdecode(link)!r} is a hard link to {os.fsdecode(name)!r}, which is not in the archive")
    new, old = os.open("/", _DIRECTORY), os.open(".", _DIRECTORY, dir_fd=target)
    try:
        _Mover(place, extractor.describes).merge(new, old, b"", 0)
        sync_file_system(old)
    except OSError as error:
        what = "" if error.filename is None else f" {os.fsdecode(error.filename)!r}"
        raise StorageError(f"moving{what} into the volume: {error.strerror}") from None
    return extractor.entries, extractor.skipped


class _Mover:
    """Moves a tree into another. What gives way, a directory to a file, is moved to the directory `aside`.

    `describes` tells whether a directory has attributes of its own to hand on.
    """

    def __init__(self, aside: int, describes: Callable[[bytes], bool]) -> None:
        self._aside = aside
        self._describes = describes
        self._moved = 0

    def merge(self, new: int, old: int, path: bytes, level: int) -> None:
        """Move what the directory `new` holds to `old`; `path` is its name in the archive."""
        if level > _MOST_LEVELS:
            raise OSError(errno.ELOOP, f"more than {_MOST_LEVELS} levels of directories", path)
        found = os.fstat(new)  # its times, before anything is taken out of it
        for text in os.listdir(new):
            name = os.fsencode(text)
            below = path + b"/" + name if path else name
            is_directory = stat.S_ISDIR(os.stat(name, dir_fd=new, follow_symlinks=False).st_mode)
            try:
                there = os.open(name, _DIRECTORY, dir_fd=old)
            except FileNotFoundError:
                os.rename(name, name, src_dir_fd=new, dst_dir_fd=old)
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
                    raise
                if is_directory:
                    os.unlink(name, dir_fd=old)
                os.rename(name, name, src_dir_fd=new, dst_dir_fd=old)
                continue
            try:
                if not is_directory:
                    self._make_way(name, old)
                    os.rename(name, name, src_dir_fd=new, dst_dir_fd=old)
                    continue
                here = os.open(name, _DIRECTORY, dir_fd=new)
                try:
                    self.merge(here, there, below, level + 1)
                finally:
                    os.close(here)
            finally:
                os.close(there)
        if self._describes(path):
            _dress(old, new, found)

    def _make_way(self, name: bytes, directory: int) -> None:
        os.rename(name, b"replaced-%d" % self._moved, src_dir_fd=directory, dst_dir_fd=self._aside)
        self._moved += 1


def _dress(target: int, like: int, found: os.stat_result) -> None:
    """Give a directory what another has (`found`: what stat says of it): owner, mode, extended attributes, times."""
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(like):
        os.setxattr(target, name, os.getxattr(like, name))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
