"""Fields of tar headers and records of pax headers, from bytes to values."""

from __future__ import annotations

import binascii

from rootless.errors import ImageError

MAX_SIZE = (1 << 63) - 1


def bad(what: str) -> ImageError:
    return ImageError(f"reading a tar archive: {what}")


def _quoted(text: bytes) -> str:
    return '"' + text[:40].decode("ascii", "replace") + '"'


# Modes, owners and times repeat; parsed once each. Bounded, for hostile archives.
_seen: dict[bytes, int] = {}


def repeated(field: bytes) -> int:
    value = _seen.get(field)
    if value is None:
        value = number(field)
        if len(_seen) < 8192:
            _seen[field] = value
    return value


def number(field: bytes) -> int:
    """A numeric field: octal digits, or base-256 (two's complement) where the first bit is set."""
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big")
        bits = len(field) * 8
        if first & 0x40:
            return value - (1 << bits)
        return value - (1 << (bits - 1))
    text = field.strip(b" \0")
    end = text.find(b"\0")
    if end >= 0:
        text = text[:end]
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError:
        raise bad(f"{_quoted(text)} is not a number") from None


def decimal_time(text: bytes) -> int:
    """Nanoseconds of a pax time: decimal seconds, a fraction of any length, perhaps negative."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.lstrip(b"+-").partition(b".")
    try:
        return sign * (int(whole or b"0") * 1_000_000_000 + int((fraction + b"000000000")[:9]))
    except ValueError:
        raise bad(f"{_quoted(text)} is not a time") from None


def decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 20:
        raise bad(f"{_quoted(text)} is not a number ({what})")
    value = int(text)
    if value > MAX_SIZE:
        raise bad(f"{what} {value} is too large")
    return value


def signed_checksum(block: bytes, checksum: int) -> bool:
    """Some old tars summed signed characters; also decides where Adler-32's modulus hides a difference."""
    rest = block[:148] + block[156:]
    return checksum in (sum(rest) + 256, sum(byte - 256 if byte > 127 else byte for byte in rest) + 256)


def sparse_structs(sparse: list[tuple[int, int]], block: bytes, at: int, count: int) -> None:
    for _ in range(count):
        if not block[at]:
            return
        sparse.append((number(block[at : at + 12]), number(block[at + 12 : at + 24])))
        at += 24


def pax_records(data: bytes) -> tuple[dict[bytes, bytes], list[tuple[int, int]] | None]:
    """Records "length key=value\\n", and the pairs of sparse format 0.0, whose keys repeat."""
    records: dict[bytes, bytes] = {}
    offsets: list[int] = []
    lengths: list[int] = []
    at = 0
    end = len(data)
    while at < end and data[at]:
        space = data.find(b" ", at, at + 20)
        length = data[at:space] if space > 0 else b""
        if not length.isdigit():
            raise bad("a damaged pax header")
        stop = at + int(length)
        equals = data.find(b"=", space, stop)
        if stop > end or equals < 0 or data[stop - 1 : stop] != b"\n":
            raise bad("a damaged pax header")
        key = data[space + 1 : equals]
        value = data[equals + 1 : stop - 1]
        if key == b"GNU.sparse.offset":
            offsets.append(decimal(value, "sparse map"))
        elif key == b"GNU.sparse.numbytes":
            lengths.append(decimal(value, "sparse map"))
        else:
            records[key] = value
        at = stop
    if len(offsets) != len(lengths):
        raise bad("an odd sparse map")
    return records, list(zip(offsets, lengths, strict=True)) if b"GNU.sparse.numblocks" in records else None


def unquote(text: bytes) -> bytes:
    """The bytes that percent signs and two hexadecimal digits stand for. (urllib.parse could not be imported here: the
    process that extracts has no Python library in sight.)"""
    first, *rest = text.split(b"%")
    parts = [first]
    for part in rest:
        try:
            parts.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:])
        except ValueError:
            raise bad("a name of an extended attribute that is not quoted right") from None
    return b"".join(parts)


def base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        raise bad("an extended attribute that is not base64") from None
