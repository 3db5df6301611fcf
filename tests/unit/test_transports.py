"""Names with transports, read; and Podman's tar-split records."""

from __future__ import annotations

import base64
import gzip
import json
import os
from pathlib import Path

import pytest

from rootless.errors import ImageError, NotFoundError, StorageError, UsageError
from storage.podman_store.places import find_store, split_store
from storage.podman_store.tar_split import rebuild
from storage.references import transport_of
from storage.transports.places import parse_place


@pytest.mark.parametrize(
    "text, parts",
    [
        ("docker-archive:/a.tar", ("docker-archive", "/a.tar", None, None)),
        ("docker-archive:a.tar:me/x", ("docker-archive", "a.tar", "docker.io/me/x:latest", None)),
        ("docker-archive:a.tar:localhost:5000/x:2", ("docker-archive", "a.tar", "localhost:5000/x:2", None)),
        ("docker-archive:a.tar:@3", ("docker-archive", "a.tar", None, 3)),
        ("oci-archive:a.tar:Any Name", ("oci-archive", "a.tar", "Any Name", None)),
        ("oci:dir:x:1", ("oci", "dir", "x:1", None)),
        ("oci:dir:@0", ("oci", "dir", None, 0)),
        ("dir:a:b", ("dir", "a:b", None, None)),
        ("containers-storage:[overlay@/r]x", ("containers-storage", "", "[overlay@/r]x", None)),
    ],
)
def test_places(text: str, parts: tuple[str, str, str | None, int | None]) -> None:
    place = parse_place(text)
    assert (place.transport, place.path, place.name, place.index) == parts
    assert str(place) == text


@pytest.mark.parametrize(
    "text, why",
    [
        ("docker-archive:", "names no file"),
        ("dir:", "names no directory"),
        ("oci::x", "names no directory"),
        ("containers-storage:", "names no image"),
        ("docker-archive:a.tar:UPPER", "lowercase"),
        ("docker-archive:a.tar:x@sha256:" + "0" * 64, "not digests"),
        ("oci:a:@-1", "not the number"),
        ("oci:a:@²", "not the number"),
        ("docker-daemon:x:1", "no daemon"),
        ("sif:/x", "not a transport"),
        ("alpine", "not a transport"),
    ],
)
def test_places_that_are_none(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_place(text)


def test_a_directory_decides_whether_a_word_is_a_transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert transport_of("oci:1.0") == transport_of("dir:1.0") == ""
    assert transport_of("oci:1.0", new=True) == "oci"
    (tmp_path / "1.0").mkdir()
    assert (transport_of("oci:1.0"), transport_of("oci:1.0:name"), transport_of("dir:1.0")) == ("oci", "oci", "dir")
    assert transport_of("docker:latest") == transport_of("oci:", new=True) == ""
    assert transport_of("docker://x") == "docker"


@pytest.mark.parametrize(
    "text, parts",
    [
        ("x:1", (None, None, "x:1")),
        ("[overlay@/g+/run:a=b,c]x", ("overlay", "/g", "x")),
        ("[vfs@/g]x", ("vfs", "/g", "x")),
        ("[/g]x", (None, "/g", "x")),
    ],
)
def test_podmans_stores(text: str, parts: tuple[str | None, str | None, str]) -> None:
    assert split_store(text) == parts


def test_podmans_stores_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_DRIVER", "CONTAINERS_STORAGE_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text, why in (("[overlay@/g", "not closed"), ("[overlay@g]x", "absolute")):
        with pytest.raises(UsageError, match=why):
            split_store(text)
    with pytest.raises(NotFoundError, match="no images"):
        find_store(None, str(tmp_path))
    (tmp_path / "btrfs-images").mkdir()
    with pytest.raises(ImageError, match="driver btrfs cannot be read"):
        find_store(None, str(tmp_path))
    (tmp_path / "vfs-images").mkdir()
    assert str(find_store(None, str(tmp_path))) == f"[vfs@{tmp_path}]"
    (tmp_path / ".config/containers").mkdir(parents=True)
    (tmp_path / "more/overlay-images").mkdir(parents=True)
    (tmp_path / ".config/containers/storage.conf").write_text(
        '[storage]\ngraphroot = "$HOME"\n[storage.options]\nadditionalimagestores = ["$HOME/more"]\n'
    )
    assert [str(store) for store in find_store(None, None).others] == [f"[overlay@{tmp_path}/more]"]


def split(place: Path, *entries: dict[str, object]) -> bytes:
    """What comes out of these entries of a tar-split file, with the files of `place`."""
    lines = b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
    (place.parent / "split").write_bytes(gzip.compress(lines))
    with open(place.parent / "split", "rb") as record, open(place.parent / "out", "w+b") as out:
        directory = os.open(place, os.O_PATH | os.O_DIRECTORY)
        try:
            length = rebuild(record.fileno(), directory, out.fileno())
        finally:
            os.close(directory)
        out.seek(0)
        data = out.read()
    assert len(data) == length
    return data


def raw(data: bytes) -> dict[str, object]:
    return {"type": 2, "payload": base64.b64encode(data).decode()}


def test_tar_split_is_bytes_and_files(tmp_path: Path) -> None:
    place = tmp_path / "diff"
    place.mkdir()
    (place / "a").write_bytes(b"A" * 600_000)
    (place / os.fsdecode(b"\xff")).write_bytes(b"F")
    (place / "empty").touch()
    found = split(
        place,
        raw(b"head"),
        {"type": 1, "name": "./a", "size": 600_000, "payload": "x"},
        {"type": 1, "name": "empty", "payload": None},
        {"type": 1, "name_raw": base64.b64encode(b"/\xff").decode(), "size": 1},
        raw(b"tail"),
    )
    assert found == b"head" + b"A" * 600_000 + b"F" + b"tail"


def test_tar_split_leads_nowhere_else(tmp_path: Path) -> None:
    place = tmp_path / "diff"
    place.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (place / "link").symlink_to("../secret")
    (place / "out").symlink_to("..")
    os.mkfifo(place / "fifo")
    for name in ("../secret", "link", "out/secret", "/../secret", "nothing", "fifo"):
        with pytest.raises(StorageError):
            split(place, {"type": 1, "name": name, "size": 6})
    damaged: list[dict[str, object]] = [
        {"type": 2, "payload": 7},
        {"payload": ""},
        {"type": 1, "name": "x", "size": "y"},
        {"type": 1, "name": "link", "size": -1},
    ]
    for entry in damaged:
        with pytest.raises(StorageError):
            split(place, entry)
