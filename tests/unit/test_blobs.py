"""The content store: what is stored has the digest that it is stored under, and broken transfers go on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rootless.errors import ImageError, StorageError
from storage.blobs import BlobWriter, has_blob, open_blob, remove_blob
from storage.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(str(tmp_path / "store"))
    made.create()
    return made


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_blob_lies_under_its_digest(layout: Layout) -> None:
    with BlobWriter(layout) as writer:
        writer.write(b"hello ")
        writer.write(memoryview(b"world"))
        digest = writer.commit()
    assert digest == digest_of(b"hello world")
    assert has_blob(layout, digest)
    fd = open_blob(layout, digest)
    assert os.read(fd, 100) == b"hello world"
    os.close(fd)
    remove_blob(layout, digest)
    remove_blob(layout, digest)
    assert not has_blob(layout, digest)
    with pytest.raises(StorageError, match=digest[:12]):
        open_blob(layout, digest)


def test_a_wrong_digest_is_refused_and_named_and_nothing_stays(layout: Layout) -> None:
    for resume in (False, True):
        with BlobWriter(layout, "0" * 64, resume) as writer:
            writer.write(b"x")
            with pytest.raises(ImageError, match=digest_of(b"x")):
                writer.commit()
    assert os.listdir(layout.tmp) == os.listdir(layout.blobs) == []


def test_without_commit_nothing_is_stored(layout: Layout) -> None:
    with BlobWriter(layout, digest_of(b"x")) as writer:
        writer.write(b"x")
    assert os.listdir(layout.tmp) == os.listdir(layout.blobs) == []


def test_a_broken_transfer_is_taken_up(layout: Layout) -> None:
    data = os.urandom(3_000_000)
    digest = digest_of(data)
    with BlobWriter(layout, digest, resume=True) as writer:
        writer.write(data[:2_000_000])
    with BlobWriter(layout, digest, resume=True) as writer:
        assert writer.size == 2_000_000
        assert b"".join(writer.read_back(at) for at in range(0, 2_000_000, 1 << 20)) == data[:2_000_000]
        writer.write(data[writer.size :])
        assert writer.commit() == digest
    assert os.listdir(layout.tmp) == []


def test_a_transfer_can_start_over(layout: Layout) -> None:
    with BlobWriter(layout, digest_of(b"good"), resume=True) as writer:
        writer.write(b"something else that is longer")
    with BlobWriter(layout, digest_of(b"good"), resume=True) as writer:
        writer.restart()
        assert writer.size == 0
        writer.write(b"good")
        writer.commit()


def test_two_at_once_do_not_write_into_one_file(layout: Layout) -> None:
    digest = digest_of(b"good")
    with BlobWriter(layout, digest, resume=True) as one, BlobWriter(layout, digest, resume=True) as two:
        one.write(b"go")
        two.write(b"good")
        assert two.commit() == digest
        one.write(b"od")
        assert one.commit() == digest
    assert os.listdir(layout.blobs) == [digest]
    assert os.listdir(layout.tmp) == []


def test_a_broken_transfer_goes_when_its_blob_comes_in_another_way(layout: Layout) -> None:
    digest = digest_of(b"good")
    with BlobWriter(layout, digest, resume=True) as writer:
        writer.write(b"go")
    assert os.listdir(layout.tmp) == [f"{digest}.partial"]
    with BlobWriter(layout) as writer:
        writer.write(b"good")
        writer.commit()
    assert os.listdir(layout.tmp) == []


def test_an_empty_attempt_leaves_no_file(layout: Layout) -> None:
    with BlobWriter(layout, digest_of(b"x"), resume=True):
        pass
    assert os.listdir(layout.tmp) == []


def test_the_store_is_private(layout: Layout) -> None:
    assert os.stat(layout.root).st_mode & 0o777 == 0o700
    with BlobWriter(layout) as writer:
        writer.write(b"secret")
        digest = writer.commit()
    assert os.stat(layout.blob(digest)).st_mode & 0o777 == 0o600
