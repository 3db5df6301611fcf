"""Headers that we write, read by our reader and by Python's tarfile."""

from __future__ import annotations

import io
import tarfile

import pytest

from storage.tar.headers import END, header, padding, sparse_map, whiteout
from storage.tar.reader import CHARACTER, DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry, TarReader


def read(data: bytes) -> list[Entry]:
    pieces = iter((data + END, b""))
    return list(TarReader(lambda: next(pieces)))


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data + END)) as tar:
        return tar.getmembers()


@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 256, 981, 983, 990, 5000])
def test_names_and_links_of_any_length(length: int) -> None:
    name, link = b"n" * length, b"l" * length
    data = header(name, SYMLINK, link=link)
    (entry,) = read(data)
    assert (entry.name, entry.link, entry.kind) == (name, link, SYMLINK)
    (member,) = members(data)
    assert (member.name, member.linkname) == (name.decode(), link.decode())
    assert len(data) == 512 or length > 100


@pytest.mark.parametrize("mtime", [0, 1, 10**9, 1700000000123456789, -1, -1500000000, 10**9 * 0o77777777777, 10**19])
def test_times_are_kept_to_the_nanosecond(mtime: int) -> None:
    (entry,) = read(header(b"f", FILE, mtime=mtime))
    assert entry.mtime == mtime
    (member,) = members(header(b"f", FILE, mtime=mtime))
    assert member.mtime == pytest.approx(mtime / 10**9)


@pytest.mark.parametrize("number", [0, 0o7777777, 0o7777777 + 1, 0xFFFFFFFE])
def test_ids_of_any_size(number: int) -> None:
    data = header(b"f", FILE, uid=number, gid=number)
    (entry,) = read(data)
    assert (entry.uid, entry.gid) == (number, number)
    (member,) = members(data)
    assert (member.uid, member.gid) == (number, number)


def test_a_size_beyond_eight_gibibytes() -> None:
    data = header(b"f", FILE, size=1 << 40)
    entry = next(iter(TarReader(iter((data, b"")).__next__)))
    assert entry.size == 1 << 40


def test_modes_devices_and_names_of_directories() -> None:
    device, directory, link = read(
        header(b"null", CHARACTER, mode=0o666, device=(1, 3))
        + header(b"d", DIRECTORY, mode=0o7777)
        + header(b"again", HARD_LINK, link=b"null")
    )
    assert (device.major, device.minor, device.mode) == (1, 3, 0o666)
    assert (directory.name, directory.mode) == (b"d/", 0o7777)
    assert (link.kind, link.link) == (HARD_LINK, b"null")


def test_attributes_with_any_bytes() -> None:
    xattrs = {b"user.b": b"\0\n=\xff", b"security.capability": bytes(range(20)), b"user.a": b""}
    (entry,) = read(header(b"f", FILE, xattrs=xattrs))
    assert entry.xattrs == xattrs
    assert header(b"f", FILE, xattrs=xattrs) == header(b"f", FILE, xattrs=dict(reversed(xattrs.items())))


def test_names_that_are_no_text() -> None:
    for name in (b"\xff\xfe", b"\xff" * 200, b"new\nline"):
        (entry,) = read(header(name, FILE))
        assert entry.name == name


def test_a_sparse_file_has_its_data_where_they_belong() -> None:
    extents = [(1 << 20, 3), (1 << 21, 2)]
    table = sparse_map(extents)
    payload = table + b"abcde"
    data = header(b"s", FILE, size=len(payload), sparse_size=(1 << 21) + 2) + payload + padding(len(payload))
    (entry,) = read(data)
    assert (entry.name, entry.size, entry.sparse, entry.stored) == (b"s", (1 << 21) + 2, extents, 5)
    with tarfile.open(fileobj=io.BytesIO(data + END)) as tar:
        file = tar.extractfile("s")
        assert file is not None
        content = file.read()
    assert len(content) == (1 << 21) + 2
    assert content[1 << 20 :][:3] == b"abc"
    assert content.endswith(b"de")


def test_a_whiteout_is_an_empty_file() -> None:
    (entry,) = read(whiteout(b"etc/.wh.motd"))
    assert (entry.name, entry.kind, entry.size, entry.mtime) == (b"etc/.wh.motd", FILE, 0, 0)
