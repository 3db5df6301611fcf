"""The record of a layer: its raw headers and their order, from which its tar is rebuilt out of the extracted files.

The file is one zstd stream of segments after a magic line:

    R <length u32> <bytes>                                   bytes of the tar as they were
    F <sequence u32> <path length u32> <windows u32> <path> (<offset u64> <length u64>)*
                                                             payload: these windows of the extracted file

A file that a later entry of the same layer replaced lies in `lost/<n>` beside the record; `lost/index` (marshal) maps
its path to [(sequence of the entry that replaced it, n)].
"""

from __future__ import annotations

import marshal
import os
import struct
from collections.abc import Callable, Iterator

from rootless.errors import StorageError
from rootless.kernel.files import write_all

_MAGIC = b"rootless layer record 1\n"
_RAW = struct.Struct("<cI")
_FILE = struct.Struct("<cIII")
_WINDOW = struct.Struct("<QQ")
_FLUSH = 512
CHUNK = 1 << 20
_WINDOW_BUFFER = 1 << 18  # what is read of files stays in the processor's cache until it is hashed and written

Lost = dict[bytes, list[tuple[int, int]]]


class RecordWriter:
    """Writes a record to `fd` (which stays the caller's)."""

    def __init__(self, fd: int) -> None:
        import zstandard

        self._fd = fd
        # headers are mostly zeros: level 1 takes them at memory speed
        self._compressor = zstandard.ZstdCompressor(level=1).compressobj()
        self._parts: list[bytes] = [_MAGIC]

    def raw(self, data: bytes) -> None:
        """Bytes that come back as they are."""
        self._parts.append(_RAW.pack(b"R", len(data)))
        self._parts.append(data)
        if len(self._parts) >= _FLUSH:
            self._flush()

    def file(self, sequence: int, path: bytes, windows: list[tuple[int, int]]) -> None:
        """Payload that comes back from `windows` (offset, length) of the file at `path`."""
        self._parts.append(_FILE.pack(b"F", sequence, len(path), len(windows)))
        self._parts.append(path)
        for offset, length in windows:
            self._parts.append(_WINDOW.pack(offset, length))
        if len(self._parts) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        data = self._compressor.compress(b"".join(self._parts))
        self._parts.clear()
        if data:
            write_all(self._fd, data)

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        write_all(self._fd, self._compressor.flush())


def open_below(path: bytes, flags: int, dir_fd: int) -> int:
    """Open `path` (no symlinks in it) relative to `dir_fd`, however long it is. The caller closes the descriptor."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    if len(path) < 4000:
        return os.open(path, flags, dir_fd=dir_fd)
    current = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        while len(path) >= 4000:
            cut = path.rindex(b"/", 0, 4000)
            deeper = os.open(path[:cut], os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = deeper
            path = path[cut + 1 :]
        return os.open(path, flags, dir_fd=current)
    finally:
        os.close(current)


class _Segments:
    """Reads the decompressed record in exact pieces."""

    def __init__(self, fd: int) -> None:
        import zstandard

        self._broken = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(os.fdopen(os.dup(fd), "rb"), read_size=CHUNK)
        self._buffer = b""
        self._at = 0
        if self.take(len(_MAGIC)) != _MAGIC:
            raise StorageError("rebuilding a layer: its record is damaged")

    def take(self, count: int, may_end: bool = False) -> bytes:
        """Exactly `count` bytes, or, where `may_end`, b"" at the end of the record."""
        while len(self._buffer) - self._at < count:
            try:
                more = self._reader.read(CHUNK)
            except self._broken:
                raise StorageError("rebuilding a layer: its record is damaged") from None
            if not more:
                if self._at < len(self._buffer) or not may_end:
                    raise StorageError("rebuilding a layer: its record is damaged")
                return b""
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        at = self._at
        self._at = at + count
        return self._buffer[at : at + count]


def rebuild(layer_fd: int, write: Callable[[memoryview], object]) -> int:
    """Write the tar of the layer whose directory is open as `layer_fd`, in pieces; returns its length in bytes.

    A piece is to be used before `write` returns. The caller hashes them and compares with the diffID. It must be able
    to read every file of the layer, so it runs in the mapped user namespace. Raises StorageError where the record or a
    file is damaged.
    """
    record = os.open("record", os.O_RDONLY | os.O_CLOEXEC, dir_fd=layer_fd)
    diff = os.open("diff", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=layer_fd)
    try:
        return _rebuild(_Segments(record), diff, layer_fd, _read_lost(layer_fd), _Gathered(write))
    finally:
        os.close(record)
        os.close(diff)


def _read_lost(layer_fd: int) -> Lost:
    try:
        fd = os.open("lost/index", os.O_RDONLY | os.O_CLOEXEC, dir_fd=layer_fd)
    except FileNotFoundError:
        return {}
    with os.fdopen(fd, "rb") as file:
        return marshal.loads(file.read())  # type: ignore[no-any-return]


def write_lost(layer_fd: int, lost: Lost) -> None:
    """Store the index of replaced files."""
    fd = os.open("lost/index", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=layer_fd)
    with os.fdopen(fd, "wb") as file:
        file.write(marshal.dumps(lost))


class _Gathered:
    """Collects headers and small files, so that not each of them costs a system call and a hash update of its own."""

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._write = write
        self._view = memoryview(bytearray(_WINDOW_BUFFER))
        self._filled = 0
        self.total = 0

    def raw(self, data: bytes) -> None:
        length = len(data)
        if length > _WINDOW_BUFFER - self._filled:
            self.flush()
        if length > _WINDOW_BUFFER:
            self._write(memoryview(data))
            self.total += length
        else:
            self._view[self._filled : self._filled + length] = data
            self._filled += length

    def window(self, fd: int, path: bytes, offset: int, length: int) -> None:
        while length:
            if self._filled == _WINDOW_BUFFER:
                self.flush()
            count = os.preadv(fd, [self._view[self._filled : self._filled + length]], offset)
            if not count:
                raise StorageError(f"rebuilding a layer: {path!r} is shorter than it was")
            self._filled += count
            offset += count
            length -= count

    def flush(self) -> None:
        if self._filled:
            self._write(self._view[: self._filled])
            self.total += self._filled
            self._filled = 0


def _rebuild(segments: _Segments, diff: int, layer_fd: int, lost: Lost, out: _Gathered) -> int:
    while kind := segments.take(1, may_end=True):
        if kind == b"R":
            (length,) = struct.unpack("<I", segments.take(4))
            out.raw(segments.take(length))
            continue
        sequence, path_length, count = struct.unpack("<III", segments.take(12))
        path = segments.take(path_length)
        windows = list(_WINDOW.iter_unpack(segments.take(16 * count))) if count else []
        try:
            if lost:
                base, place = _place(path, sequence, lost)
                fd = open_below(place, os.O_RDONLY, layer_fd if base else diff)
            else:
                fd = open_below(path, os.O_RDONLY, diff)
        except OSError as error:
            raise StorageError(f"rebuilding a layer: {path!r}: {error.strerror}") from None
        try:
            for offset, length in windows:
                out.window(fd, path, offset, length)
        finally:
            os.close(fd)
    out.flush()
    return out.total


def headers_only(record_fd: int) -> Callable[[], bytes]:
    """For TarReader: pieces of the tar whose record is open as `record_fd`, zeros where payload was, b"" at the end.
    No file of the layer is needed. Raises StorageError where the record is damaged."""
    pieces = _headers_only(_Segments(record_fd))
    return lambda: next(pieces, b"")


def _headers_only(segments: _Segments) -> Iterator[bytes]:
    zeros = bytes(CHUNK)
    while kind := segments.take(1, may_end=True):
        if kind == b"R":
            raw = segments.take(*struct.unpack("<I", segments.take(4)))
            if raw:
                yield raw
            continue
        _, path_length, count = struct.unpack("<III", segments.take(12))
        segments.take(path_length)
        length = sum(length for _, length in _WINDOW.iter_unpack(segments.take(16 * count)))
        while length:
            step = min(length, CHUNK)
            yield zeros if step == CHUNK else zeros[:step]
            length -= step


def _place(path: bytes, sequence: int, lost: Lost) -> tuple[bool, bytes]:
    """Where the payload of entry `sequence` at `path` is now: moved away with the path or one of its parents by the
    first later entry that replaced it, or still in place."""
    best: tuple[int, bytes] | None = None
    end = len(path)
    while end > 0:
        for replaced, number in lost.get(path[:end], ()):
            if replaced > sequence and (best is None or replaced < best[0]):
                best = (replaced, b"lost/%d" % number + path[end:])
        end = path.rfind(b"/", 0, end)
    return (False, path) if best is None else (True, best[1])
