"""What the child of a layer extraction does, inside the user namespace and chrooted into the layer."""

from __future__ import annotations

import hashlib
import marshal
import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from rootless.errors import RootlessError
from rootless.kernel.files import sync_file_system, write_all
from storage import compress
from storage.layers.names import OWNERS, SINGLE
from storage.layout import drop_default_acl
from storage.tar.extract import Extractor, Limits
from storage.tar.reader import TarReader
from storage.tar.record import RecordWriter
from storage.tar.record import rebuild as rebuild_tar

_READ = 1 << 20
# pieces of a mebibyte on their way from the decompressing thread to the extracting one
_DEPTH = 8


def preload() -> None:
    """Import in the parent what all children need: each would pay for it, and none could after chroot."""
    compress.preload()


def extract(
    source: tuple[int, tuple[int, int] | None], layer_fd: int, record_fd: int, max_bytes: int | None
) -> tuple[str, int, int, int, int, int]:
    """Extract the blob that `source` (descriptor, (offset, length) in a seekable file) gives; fields of LayerInfo."""
    os.fchdir(layer_fd)
    drop_default_acl("diff")
    single = maps_one_id()
    os.chroot("diff")
    os.chdir("/")
    limits = Limits() if max_bytes is None else Limits(max_bytes)
    record = RecordWriter(record_fd)
    extractor = Extractor(layer_fd, record, single, limits)
    stream = Stream(reader_of(*source))
    extractor.run(TarReader(stream.next_piece))
    record.close()
    if extractor.foreign:
        _write_file(layer_fd, OWNERS, SINGLE if single else "")
    if extractor.missing_links or extractor.implied:
        _write_notes(layer_fd, {"links": extractor.missing_links, "implied": extractor.implied})
    sync_file_system(record_fd)
    return stream.digest(), extractor.size, stream.length, extractor.entries, extractor.squashed, extractor.skipped


def rebuild(layer_fd: int, out_fd: int, at: int | None) -> tuple[str, int]:
    """Write the layer's tar to `out_fd`, at the offset `at` or (None) where it stands; (digest of what was written in
    hex, its length)."""
    digest = hashlib.sha256()
    place = at

    def write(data: memoryview) -> None:
        nonlocal place
        digest.update(data)
        if place is None:
            write_all(out_fd, data)
            return
        while data:
            done = os.pwrite(out_fd, data, place)
            place += done
            data = data[done:]

    length = rebuild_tar(layer_fd, write)
    return digest.hexdigest(), length


def _write_notes(layer_fd: int, notes: dict[str, list[bytes] | list[tuple[bytes, bytes]]]) -> None:
    fd = os.open("notes", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=layer_fd)
    with os.fdopen(fd, "wb") as file:
        marshal.dump(notes, file)


def _write_file(layer_fd: int, name: str, content: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=layer_fd)
    try:
        write_all(fd, content.encode())
    finally:
        os.close(fd)


def maps_one_id() -> bool:
    """Whether our user namespace has one id only."""
    with open("/proc/self/uid_map", "rb") as file:
        return sum(int(line.split()[2]) for line in file) == 1


def reader_of(fd: int, window: tuple[int, int] | None) -> Callable[[], bytes]:
    """What gives the next piece of an open file, b"" at its end; `window`: (offset, length) in a seekable one."""
    if window is None:
        return lambda: os.read(fd, _READ)
    at, left = window

    def read() -> bytes:
        nonlocal at, left
        data = os.pread(fd, min(left, _READ), at)
        at += len(data)
        left -= len(data)
        return data

    return read


class Stream:
    """Decompresses and hashes in a thread of its own (both let go of the interpreter lock) ahead of the extraction."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._queue: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._room = threading.Semaphore(_DEPTH)
        self._hash = hashlib.sha256()
        self.length = 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for piece in self._pieces():
                self._room.acquire()
                self._queue.put(piece)
            self._queue.put(b"")
        except (RootlessError, OSError) as error:
            self._queue.put(error)

    def _pieces(self) -> Iterator[bytes]:
        for piece in compress.decompress(self._read):
            self._hash.update(piece)
            self.length += len(piece)
            yield piece

    def next_piece(self) -> bytes:
        """The next piece of the tar, b"" at the end. Raises what reading or decompressing raised."""
        piece = self._queue.get()
        if isinstance(piece, BaseException):
            raise piece
        self._room.release()
        return piece

    def digest(self) -> str:
        """The diffID; the stream has been read to its end by then."""
        self._thread.join()
        return self._hash.hexdigest()
