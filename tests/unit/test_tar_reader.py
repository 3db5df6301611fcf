"""Tar headers are read as Python's tarfile reads them, however the stream is cut into pieces."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.errors import ImageError
from storage.compress import decompress, detect
from storage.tar.reader import Entry, TarReader

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300).map(
    lambda name: name.strip("/") or "x"
)
MEMBERS = st.lists(
    st.tuples(
        NAMES,
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]),
        st.integers(0, 0o7777),
        st.integers(0, 2**40),
        st.integers(0, 2**21),
        st.integers(-(2**33), 2**40),
        NAMES,
        st.binary(max_size=3000),
    ),
    max_size=6,
)


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    pieces = pieces_of(data, size)
    reader = TarReader(lambda: next(pieces, b""))
    return [(entry, b"".join(reader.payload())) for entry in reader]


@settings(max_examples=200, deadline=None)
@given(members=MEMBERS, size=st.integers(1, 2000), form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_entries_are_what_tarfile_wrote(members: list[Any], size: int, form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, kind, mode, uid, gid, mtime, link, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime, info.linkname = kind, mode, uid, gid, mtime, link
            content = data if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    found = read(data, size)
    assert len(found) == len(members)
    for (entry, payload), (name, kind, mode, uid, gid, mtime, link, content) in zip(found, members, strict=True):
        assert entry.name.rstrip(b"/") == name.encode().rstrip(b"/")
        assert (entry.kind, entry.mode, entry.uid, entry.gid) == (kind, mode, uid, gid)
        assert entry.mtime == mtime * 1_000_000_000
        if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            assert entry.link == link.encode()
        if kind == tarfile.REGTYPE:
            assert payload == content == data[entry.offset : entry.offset + entry.stored]


@settings(max_examples=100, deadline=None)
@given(members=MEMBERS, size=st.integers(1, 2000))
def test_every_byte_comes_back_as_raw_payload_or_tail(members: list[Any], size: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, *_, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    data = buffer.getvalue()
    pieces = pieces_of(data, size)
    reader = TarReader(lambda: next(pieces, b""))
    parts = []
    for entry in reader:
        parts.append(entry.raw)
        parts += [bytes(piece) for piece in reader.payload()]
    parts += list(reader.tail)
    assert b"".join(parts) == data


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=2048))
def test_nonsense_is_refused_in_our_words(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^reading a tar archive: "):
        read(data.ljust(1024, b"\1"))


def test_an_empty_stream_has_no_entries() -> None:
    assert read(b"") == read(bytes(1024)) == read(bytes(10240)) == []


def test_a_global_pax_header_counts_for_all_that_follow() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"uid": "77"}) as archive:
        for name in "ab":
            archive.addfile(tarfile.TarInfo(name))
    assert [entry.uid for entry, _ in read(buffer.getvalue())] == [77, 77]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x5a\x2a\x4d\x18", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh9", "bzip2"),
        (b"", "none"),
        (b"ustar", "none"),
    ],
)
def test_compressions_are_told_by_their_first_bytes(head: bytes, name: str) -> None:
    assert detect(head) == name


def test_a_stream_that_comes_byte_by_byte_is_decompressed() -> None:
    import gzip

    pieces = pieces_of(gzip.compress(b"hello" * 1000), 1)
    assert b"".join(decompress(lambda: next(pieces, b""))) == b"hello" * 1000
