"""Headers of tar entries as we write them: ustar, with a pax header where a value does not fit (POSIX.1-2001).

The same values make the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from storage.tar.reader import BLOCK_SIZE, DIRECTORY, FILE

# name mode uid gid size mtime checksum type link magic and version uname gname major minor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\x0000"
_LARGEST = {8: 0o7777777, 12: 0o77777777777}
_SECOND = 1_000_000_000

END = bytes(2 * BLOCK_SIZE)


def header(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
    size: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[bytes, bytes] | None = None,
    sparse_size: int | None = None,
) -> bytes:
    """The blocks before an entry's payload of `size` bytes. `kind` is a type flag, `mtime` in nanoseconds.

    `sparse_size`: the length of a file whose payload is a map (`sparse_map`) and its data (GNU sparse format 1.0).
    """
    if kind == DIRECTORY:
        name += b"/"
    pax: dict[bytes, bytes] = {}
    short = name[:100]
    if sparse_size is not None:
        pax[b"GNU.sparse.major"] = b"1"
        pax[b"GNU.sparse.minor"] = b"0"
        pax[b"GNU.sparse.name"] = name
        pax[b"GNU.sparse.realsize"] = b"%d" % sparse_size
        short = (b"GNUSparseFile.0/" + name.rpartition(b"/")[2])[:100]
    elif len(name) > 100:
        pax[b"path"] = name
    if len(link) > 100:
        pax[b"linkpath"] = link
    numbers = []
    for key, value, width in ((b"uid", uid, 8), (b"gid", gid, 8), (b"size", size, 12)):
        if value > _LARGEST[width]:
            pax[key] = b"%d" % value
            value = 0
        numbers.append(_octal(value, width))
    seconds, fraction = divmod(mtime, _SECOND)
    if fraction or not 0 <= seconds <= _LARGEST[12]:
        pax[b"mtime"] = _decimal(mtime)
        seconds = max(0, min(seconds, _LARGEST[12]))
    for key, value_bytes in (xattrs or {}).items():
        pax[b"SCHILY.xattr." + key] = value_bytes
    block = _block(short, kind, mode, numbers, seconds, link[:100], device)
    return _pax(pax) + block if pax else block


def padding(size: int) -> bytes:
    """What fills the last block of a payload of `size` bytes."""
    return bytes(-size % BLOCK_SIZE)


def sparse_map(extents: Sequence[tuple[int, int]]) -> bytes:
    """What the payload of a sparse file begins with: where its data (offset, length) belong."""
    lines = [b"%d\n" % len(extents)]
    lines += [b"%d\n%d\n" % extent for extent in extents]
    text = b"".join(lines)
    return text + padding(len(text))


def _pax(records: Mapping[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    numbers = [_octal(0, 8), _octal(0, 8), _octal(len(body), 12)]
    return _block(b"PaxHeaders.0", b"x", 0o644, numbers, 0, b"", (0, 0)) + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    """ "LENGTH KEY=VALUE\\n", where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _decimal(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    return sign + (b"%d.%09d" % (seconds, fraction)).rstrip(b"0").rstrip(b".") if fraction else sign + b"%d" % seconds


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _block(
    name: bytes, kind: bytes, mode: int, numbers: list[bytes], seconds: int, link: bytes, device: tuple[int, int]
) -> bytes:
    uid, gid, size = numbers
    major, minor = (_octal(number & 0o7777777, 8) for number in device)
    is_device = kind in (b"3", b"4")
    fields = [name, _octal(mode & 0o7777, 8), uid, gid, size, _octal(seconds, 12), b" " * 8, kind, link, _MAGIC]
    fields += [b"", b"", major if is_device else b"", minor if is_device else b"", b""]
    block = _HEADER.pack(*fields)
    return _HEADER.pack(*fields[:6], b"%06o\0 " % sum(block), *fields[7:])


def whiteout(name: bytes) -> bytes:
    """The entry that says that something is deleted (OCI image-spec, layer.md): an empty file called `name`."""
    return header(name, FILE)
