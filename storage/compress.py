"""Decompression of layers and archives as they stream: gzip, zstd, xz, bzip2, or nothing, told apart by their first
bytes (the media type of a manifest is not to be trusted for it)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from rootless.errors import ImageError

GZIP = "gzip"
ZSTD = "zstd"
XZ = "xz"
BZIP2 = "bzip2"
NONE = "none"

_MAGIC = (
    (b"\x1f\x8b\x08", GZIP),
    (b"\x28\xb5\x2f\xfd", ZSTD),
    (b"\xfd7zXZ\x00", XZ),
    (b"BZh", BZIP2),
)
MAGIC_BYTES = 6
CHUNK = 1 << 20
# RFC 8878 asks for at least 8 MiB of window, `zstd --long` writes 128 MiB; more is an attack on memory.
_ZSTD_WINDOW = 1 << 27
_XZ_MEMORY = 1 << 28


def detect(head: bytes) -> str:
    """Compression of a stream that begins with `head` (at least MAGIC_BYTES bytes where there are as many)."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    # a skippable frame may come first (RFC 8878, 3.1.2)
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return ZSTD
    return NONE


def preload(compression: str | None = None) -> None:
    """Import what decompressing needs, before a process loses sight of the file system (chroot) or forks."""
    if compression in (None, GZIP):
        from isal import isal_zlib  # noqa: F401
    if compression in (None, ZSTD):
        import zstandard  # noqa: F401
    if compression in (None, XZ):
        import lzma  # noqa: F401
    if compression in (None, BZIP2):
        import bz2  # noqa: F401


def decompress(read: Callable[[], bytes]) -> Iterator[bytes]:
    """The decompressed stream, in pieces of about a mebibyte; `read()` gives compressed bytes, b"" at the end.

    Concatenated gzip members, zstd frames, xz and bzip2 streams are one stream. Zeros and garbage after the last
    gzip member are ignored, as by gzip(1). Raises ImageError for damaged or truncated data.
    """
    head = read()
    while 0 < len(head) < MAGIC_BYTES:
        more = read()
        if not more:
            break
        head += more
    kind = detect(head)
    if kind == NONE:
        return _plain(head, read)
    return _DECODERS[kind](head, read)


def _plain(head: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    piece = head
    while piece:
        yield piece
        piece = read()


def _truncated(kind: str) -> ImageError:
    return ImageError(f"decompressing: the {kind} stream ends too early")


def _damaged(kind: str, error: BaseException) -> ImageError:
    return ImageError(f"decompressing: damaged {kind} stream: {error}")


def _gzip(head: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    from isal import isal_zlib

    data = head
    while True:
        # 31: a gzip header and trailer are expected and checked
        decoder = isal_zlib.decompressobj(31)
        while not decoder.eof:
            try:
                out = decoder.decompress(data, CHUNK)
            except isal_zlib.error as error:  # type: ignore[misc]
                raise _damaged(GZIP, error) from None
            if out:
                yield out
            data = decoder.unconsumed_tail
            if not data and not decoder.eof and len(out) < CHUNK:
                data = read()
                if not data:
                    raise _truncated(GZIP)
        data = decoder.unused_data
        while len(data) < 3:
            more = read()
            if not more:
                return
            data += more
        if not data.startswith(b"\x1f\x8b\x08"):
            while read():
                pass
            return


def _zstd(head: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    import zstandard

    frames = _zstd_frames()
    next(frames)

    def watched() -> bytes:
        data = read()
        frames.send(data)
        return data

    frames.send(head)
    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        _Readable(head, watched),  # type: ignore[arg-type]
        read_size=CHUNK,
        read_across_frames=True,
    )
    try:
        while piece := reader.read(CHUNK):
            yield piece
    except zstandard.ZstdError as error:
        raise _damaged(ZSTD, error) from None


def _zstd_frames() -> Generator[None, bytes, None]:
    """Is sent the compressed pieces and then b""; raises ImageError where that is not between two frames.

    The library takes a stream that is cut off for one that has ended. So the frames are followed here by the lengths
    in their headers (RFC 8878, 3.1.1), without a look at what they hold.
    """
    data = b""
    at = 0

    def take(count: int, end_allowed: bool = False) -> Generator[None, bytes, bytes]:
        nonlocal data, at
        while len(data) - at < count:
            more = yield
            if not more:
                if end_allowed and at >= len(data):
                    return b""
                raise _truncated(ZSTD)
            data, at = (data[at:] + more, 0) if at < len(data) else (more, at - len(data))
        at += count
        return data[at - count : at]

    def skip(count: int) -> Generator[None, bytes, None]:
        nonlocal at
        at += count
        yield from take(0)

    while magic := (yield from take(4, True)):
        if magic[1:] == b"\x2a\x4d\x18":
            yield from skip(int.from_bytes((yield from take(4)), "little"))
            continue
        flags = (yield from take(1))[0]
        single = flags >> 5 & 1
        yield from skip((1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6])
        last = 0
        while not last:
            block = int.from_bytes((yield from take(3)), "little")
            last = block & 1
            yield from skip(1 if block >> 1 & 3 == 1 else block >> 3)
        yield from skip(4 if flags & 4 else 0)
    while True:
        yield


class _Readable:
    """The `read(size)` that zstandard calls; it takes more or less than `size`."""

    def __init__(self, head: bytes, read: Callable[[], bytes]) -> None:
        self._rest = head
        self._read = read

    def read(self, size: int) -> bytes:
        data = self._rest or self._read()
        self._rest = data[size:]
        return data[:size] if len(data) > size else data


def _streams(kind: str, make: Callable[[], Any], errors: tuple[type[BaseException], ...], magic: bytes) -> Any:
    def decode(head: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
        data = head
        while True:
            decoder = make()
            while not decoder.eof:
                if not data and decoder.needs_input:
                    data = read()
                    if not data:
                        raise _truncated(kind)
                try:
                    out = decoder.decompress(data, CHUNK)
                except errors as error:
                    raise _damaged(kind, error) from None
                data = b""
                if out:
                    yield out
            data = decoder.unused_data.lstrip(b"\0")
            while len(data) < len(magic):
                more = read()
                if not more:
                    return
                data = (data + more).lstrip(b"\0")
            if not data.startswith(magic):
                while read():
                    pass
                return

    return decode


def _xz(head: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    import lzma

    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    return _streams(XZ, make, (lzma.LZMAError, EOFError), b"\xfd7zXZ\x00")(head, read)  # type: ignore[no-any-return]


def _bzip2(head: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    import bz2

    return _streams(BZIP2, bz2.BZ2Decompressor, (OSError, ValueError, EOFError), b"BZh")(head, read)  # type: ignore[no-any-return]


_DECODERS: dict[str, Callable[[bytes, Callable[[], bytes]], Iterator[bytes]]] = {
    GZIP: _gzip,
    ZSTD: _zstd,
    XZ: _xz,
    BZIP2: _bzip2,
}
