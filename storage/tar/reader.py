"""Reads tar streams: ustar, GNU (long names, old sparse), pax (1003.1-2001, sparse 0.0, 0.1, 1.0), base-256 numbers.

Names stay bytes. Every byte of the stream is accounted for: what is not the payload of an entry is kept as `raw`, from
which the stream can be rebuilt (storage.tar.record). Sizes of what a header makes us hold in memory are bounded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from rootless.errors import ImageError
from storage.tar.fields import (
    bad,
    base64,
    decimal,
    decimal_time,
    number,
    pax_records,
    repeated,
    signed_checksum,
    sparse_structs,
    unquote,
)

FILE = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK = b"4"
DIRECTORY = b"5"
FIFO = b"6"

BLOCK_SIZE = 512
ZERO_BLOCK = bytes(BLOCK_SIZE)
# What Go's archive/tar, and so every registry's user, takes for a long name or a pax header.
_LIMIT_META = 1 << 20
_LIMIT_SPARSE_MAP = 1 << 20
_LIMIT_SPARSE_SIZE = 1 << 60  # tmpfs and xfs would take 8 EiB; whoever copies such a file never ends

# name mode uid gid size mtime checksum type link magic(6) version(2) uname gname major minor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_REGULAR = frozenset((b"0", b"\0", b"7", b"S"))
# links, devices, directories and fifos have no payload, whatever their size field says
_EMPTY = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))


class Entry:
    """One member of the archive.

    `name` and `link` are raw bytes; `kind` is one of the constants above (other type flags are given as they are);
    `mtime` is in nanoseconds; `size` is the length of the file, `stored` that of its payload in the archive; `sparse`
    is None or a list of (offset, length) of the data that follow one another in the payload; `raw` is all bytes of the
    stream since the last entry's payload; `offset` is where the payload begins in the stream.
    """

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "offset",
        "raw",
        "size",
        "sparse",
        "stored",
        "uid",
        "xattrs",
    )

    name: bytes
    link: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    mtime: int
    major: int
    minor: int
    size: int
    stored: int
    sparse: list[tuple[int, int]] | None
    xattrs: dict[bytes, bytes] | None
    raw: bytes
    offset: int


class TarReader:
    """Iterates over the entries of a stream; `next_piece()` gives its bytes in pieces of any size, b"" at the end.

    The payload of the entry given last is read with `payload()`; what is left of it is skipped by the next step.
    After the last entry `tail` holds everything that follows (end marker, padding).
    """

    def __init__(self, next_piece: Callable[[], bytes]) -> None:
        self._next_piece = next_piece
        self._piece: bytes = b""
        self._at = 0
        self._end = 0
        self._consumed = 0
        self._left = 0
        self._padding = 0
        self._raw: list[bytes] = []
        self._global: dict[bytes, bytes] = {}
        self.tail: Iterator[bytes] = iter(())

    @property
    def position(self) -> int:
        """Bytes of the stream consumed so far."""
        return self._consumed + self._at

    def _more(self) -> bool:
        self._consumed += self._end
        self._piece = self._next_piece()
        self._at = 0
        self._end = len(self._piece)
        return self._end > 0

    def _take(self, count: int) -> bytes:
        """Exactly `count` bytes, fewer only at the end of the stream."""
        at = self._at
        if at + count <= self._end:
            self._at = at + count
            return self._piece[at : at + count]
        parts = [self._piece[at : self._end]]
        count -= self._end - at
        self._at = self._end
        while count and self._more():
            step = min(count, self._end)
            parts.append(self._piece[:step])
            self._at = step
            count -= step
        return b"".join(parts)

    def _take_raw(self, count: int, what: str) -> bytes:
        data = self._take(count)
        if len(data) != count:
            raise bad(f"it ends in the middle of {what}")
        self._raw.append(data)
        return data

    def payload(self) -> Iterator[memoryview]:
        """The payload of the current entry in pieces. Raises ImageError where the archive ends before it does."""
        while self._left:
            if self._at == self._end and not self._more():
                raise bad("it ends in the middle of a file")
            at = self._at
            step = min(self._left, self._end - at)
            self._at = at + step
            self._left -= step
            yield memoryview(self._piece)[at : at + step]

    def whole_payload(self) -> bytes | None:
        """The payload in one piece where it lies in the present buffer (most files are small), else None."""
        at = self._at
        end = at + self._left
        if end > self._end:
            return None
        self._at = end
        self._left = 0
        return self._piece[at:end]

    def payload_to_raw(self) -> None:
        """Keep the payload of the current entry as `raw` of what follows: for entries that become no file."""
        for piece in self.payload():
            self._raw.append(bytes(piece))

    def __iter__(self) -> Iterator[Entry]:
        while True:
            if self._left:
                for _ in self.payload():
                    pass
            if self._padding:
                self._take_raw(self._padding, "the padding of a file")
                self._padding = 0
            entry = self._next_entry()
            if entry is None:
                return
            yield entry

    def _next_entry(self) -> Entry | None:
        pax: dict[bytes, bytes] | None = None
        pax_sparse: list[tuple[int, int]] | None = None
        long_name = long_link = None
        while True:
            block = self._take(BLOCK_SIZE)
            if len(block) < BLOCK_SIZE:
                if block:
                    raise bad("it ends in the middle of a header")
                if pax is not None or long_name is not None or long_link is not None:
                    raise bad("it ends after an extended header")
                self.tail = iter(self._raw)
                return None
            if block == ZERO_BLOCK:
                self.tail = self._after_end(block)
                return None
            fields = _HEADER.unpack(block)
            try:
                checksum = number(fields[6])
            except ImageError:
                checksum = -1
            # Adler-32's low half is one more than the sum of the bytes modulo 65521: the sum in C, for free
            plain = zlib.adler32(block[156:], zlib.adler32(block[:148])) & 0xFFFF
            if plain != (checksum + 1 - 256) % 65521 and not signed_checksum(block, checksum):
                raise bad(
                    "a header's checksum is wrong" if self._consumed or self._at > 512 else "it is not a tar archive"
                )
            kind = fields[7]
            self._raw.append(block)
            size = number(fields[4])
            if size < 0:
                raise bad("a negative size")
            if kind == b"x" or kind == b"X":
                pax, pax_sparse = pax_records(self._meta(size, "a pax header"))
            elif kind == b"g":
                self._global.update(pax_records(self._meta(size, "a pax header"))[0])
            elif kind == b"L":
                long_name = self._meta(size, "a long name").split(b"\0", 1)[0]
            elif kind == b"K":
                long_link = self._meta(size, "a long link").split(b"\0", 1)[0]
            else:
                break

        entry = Entry()
        name = fields[0]
        end = name.find(b"\0")
        if end >= 0:
            name = name[:end]
        magic = fields[9]
        if magic == b"ustar\x0000" and fields[14][0]:
            name = fields[14].split(b"\0", 1)[0] + b"/" + name
        entry.name = name if long_name is None else long_name
        link = fields[8]
        entry.link = (b"" if not link[0] else link.split(b"\0", 1)[0]) if long_link is None else long_link
        entry.mode = repeated(fields[1])
        entry.uid = repeated(fields[2])
        entry.gid = repeated(fields[3])
        entry.mtime = repeated(fields[5]) * 1_000_000_000
        entry.xattrs = None
        entry.sparse = None
        entry.major = entry.minor = 0
        if kind in _REGULAR:
            # before POSIX a directory was a file whose name ends in a slash
            entry.kind = DIRECTORY if kind == b"\0" and entry.name.endswith(b"/") else FILE
        else:
            entry.kind = kind
            if kind in (CHARACTER, BLOCK):
                entry.major = number(fields[12])
                entry.minor = number(fields[13])
        entry.size = size
        if pax is not None or self._global:
            size = self._apply_pax(entry, {**self._global, **(pax or {})}, pax_sparse, size)
        if kind == b"S":
            self._old_sparse(entry, block)
        if entry.kind in _EMPTY:
            size = entry.size = 0
        entry.stored = size
        if entry.sparse is not None and entry.kind == FILE:
            entry.stored = size = self._check_sparse(entry, size)
        elif entry.kind == FILE:
            entry.size = size
        entry.offset = self.position
        entry.raw = self._raw[0] if len(self._raw) == 1 else b"".join(self._raw)
        self._raw = []
        self._left = size
        self._padding = -size % BLOCK_SIZE
        return entry

    def _after_end(self, first: bytes) -> Iterator[bytes]:
        """Everything from the end marker on, whatever it is: nothing after it may be read as entries."""
        second = self._take(BLOCK_SIZE)
        if second and second.strip(b"\0"):
            raise bad("a lone zero block where a header belongs")

        return self._rest([*self._raw, first, second])

    def _rest(self, parts: list[bytes]) -> Iterator[bytes]:
        yield b"".join(parts)
        while self._at < self._end or self._more():
            data = self._piece[self._at : self._end]
            self._at = self._end
            yield data

    def _meta(self, size: int, what: str) -> bytes:
        if size > _LIMIT_META:
            raise bad(f"{what} of {size} bytes")
        data = self._take_raw(size, what)
        padding = -size % BLOCK_SIZE
        if padding:
            self._take_raw(padding, what)
        return data

    def _apply_pax(self, entry: Entry, pax: dict[bytes, bytes], sparse: list[tuple[int, int]] | None, size: int) -> int:
        """Overlay `entry` with extended header records; returns the size of the payload in the archive."""
        for key, value in pax.items():
            if key == b"path":
                entry.name = value
            elif key == b"linkpath":
                entry.link = value
            elif key == b"size":
                size = entry.size = decimal(value, "size")
            elif key == b"uid":
                entry.uid = decimal(value, "uid")
            elif key == b"gid":
                entry.gid = decimal(value, "gid")
            elif key == b"mtime":
                entry.mtime = decimal_time(value)
            elif key.startswith(b"SCHILY.xattr."):
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs[key[13:]] = value
            elif key.startswith(b"LIBARCHIVE.xattr."):
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs.setdefault(unquote(key[17:]), base64(value))
        if entry.name.endswith(b"/") and entry.kind == FILE and not size:
            entry.kind = DIRECTORY
        if b"GNU.sparse.major" in pax:
            if pax[b"GNU.sparse.major"] != b"1" or pax.get(b"GNU.sparse.minor") != b"0":
                raise bad("a sparse format that is not known")
            entry.size = decimal(pax.get(b"GNU.sparse.realsize", b"0"), "size of a sparse file")
            entry.name = pax.get(b"GNU.sparse.name", entry.name)
            entry.sparse, used = self._sparse_map(size)
            return size - used
        if b"GNU.sparse.map" in pax:
            numbers = pax[b"GNU.sparse.map"].split(b",") if pax[b"GNU.sparse.map"] else []
            if len(numbers) % 2:
                raise bad("an odd sparse map")
            values = [decimal(number, "sparse map") for number in numbers]
            entry.sparse = list(zip(values[::2], values[1::2], strict=True))
            entry.name = pax.get(b"GNU.sparse.name", entry.name)
        elif sparse is not None:
            entry.sparse = sparse
        if entry.sparse is not None:
            entry.size = decimal(pax.get(b"GNU.sparse.size", b"0"), "size of a sparse file")
        return size

    def _sparse_map(self, size: int) -> tuple[list[tuple[int, int]], int]:
        """The map of sparse format 1.0: decimal lines at the head of the payload, padded to a block."""
        text = b""
        wanted = 1
        while True:
            if text.count(b"\n") >= wanted:
                lines = text.split(b"\n")
                count = decimal(lines[0], "sparse map")
                if wanted > 1 or not count:
                    values = [decimal(line, "sparse map") for line in lines[1 : 1 + 2 * count]]
                    return list(zip(values[::2], values[1::2], strict=True)), len(text)
                if count > _LIMIT_SPARSE_MAP:
                    raise bad("a sparse map that is too long")
                wanted = 1 + 2 * count
                continue
            if len(text) + BLOCK_SIZE > min(size, _LIMIT_SPARSE_MAP * 8):
                raise bad("a sparse map that does not end")
            text += self._take_raw(BLOCK_SIZE, "a sparse map")

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        """GNU's type S: four pieces in the header, 21 in each extension block."""
        entry.sparse = []
        entry.size = number(block[483:495])
        sparse_structs(entry.sparse, block, 386, 4)
        more = block[482]
        while more:
            if len(entry.sparse) > _LIMIT_SPARSE_MAP:
                raise bad("a sparse map that is too long")
            extension = self._take_raw(BLOCK_SIZE, "a sparse map")
            sparse_structs(entry.sparse, extension, 0, 21)
            more = extension[504]

    @staticmethod
    def _check_sparse(entry: Entry, size: int) -> int:
        """`size` where the map is in order: ascending, inside the file, as long as the payload."""
        at = total = 0
        if not 0 <= entry.size <= _LIMIT_SPARSE_SIZE:
            raise bad("the size of a sparse file is out of range")
        for offset, length in entry.sparse or ():
            if offset < at or length < 0 or offset + length > entry.size:
                raise bad("a sparse map that does not fit its file")
            at = offset + length
            total += length
        if total != size:
            raise bad("a sparse map that does not fit its payload")
        return size
