"""What `system df` reckons: shared layers count once, what is used is not reclaimable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootless.cli.output import compact_size
from rootless.engine.upkeep.disk_usage import Kind, measure
from storage.drivers.sizes import ALL, sizes_of, tree_size
from storage.store import Store
from storage.upkeep.disk_usage import image_space, interrupted_downloads, kept_blobs, layer_space
from tests.support.store import hex_of, make_store, put_container, put_image


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two images over one base (each layer has 1000 bytes), and a third; a container of the first."""
    found = make_store(tmp_path)
    first = put_image(found, "docker.io/me/a:1", "docker.io/me/a:2", layers=("base", "a"))
    put_image(found, "docker.io/me/b:1", layers=("base", "b"))
    put_image(found, "docker.io/me/c:1", layers=("c", "c"))
    put_container(found, "one", first)
    return found


def test_shared_layers_count_once(store: Store) -> None:
    space = layer_space(store.db)
    assert (space.size, space.reclaimable) == (4000, 2000)
    sizes = {one.image.names[0]: (one.shared, one.unique) for one in image_space(store.db)}
    assert sizes == {
        "docker.io/me/a:1": (1000, 1000),
        "docker.io/me/b:1": (1000, 1000),
        "docker.io/me/c:1": (0, 1000),
    }


def test_layers_of_containers_without_image_are_in_use(store: Store) -> None:
    store.db.execute("INSERT INTO container_layers VALUES (?, 0, ?)", (hex_of("one"), hex_of("c")))
    assert layer_space(store.db).reclaimable == 1000


def test_blobs_and_downloads(store: Store) -> None:
    store.db.execute("UPDATE layers SET blob = 'feed', blob_size = 70 WHERE diff_id = ?", (hex_of("a"),))
    Path(store.layout.tmp, "0.partial").write_bytes(b"12345")
    assert [(blob.digest, blob.size, blob.needed) for blob in kept_blobs(store.db)] == [("feed", 70, True)]
    assert interrupted_downloads(store) == [5]
    kinds = {kind.name: kind for kind in measure(store, print).kinds}
    assert kinds["Blobs"] == Kind("Blobs", 2, 1, 75, 75)
    assert kinds["Images"] == Kind("Images", 3, 1, 4000, 2000)
    assert kinds["Containers"] == Kind("Containers", 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("size", "reclaimable", "percent"), [(0, 0, 0), (3, 1, 33), (3, 2, 67), (8, 1, 13), (2, 2, 100)]
)
def test_percent_is_rounded(size: int, reclaimable: int, percent: int) -> None:
    assert Kind("Images", 1, 1, size, reclaimable).percent == percent


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (2_028_615, "2.029MB"),
        (102_400, "102.4kB"),
        (13_491_151_377, "13.49GB"),
    ],
)
def test_sizes_are_written_as_docker_does(size: int, text: str) -> None:
    assert compact_size(size) == text


def test_a_file_with_two_names_counts_once_and_links_are_not_followed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "deep/er").mkdir(parents=True)
    (top / "deep/er/file").write_bytes(b"x" * 100)
    os.link(top / "deep/er/file", top / "other")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/big").write_bytes(b"x" * 100_000)
    (top / "link").symlink_to(tmp_path / "outside")
    assert tree_size(str(top), ALL) == (100 + len(os.readlink(top / "link")), True)
    changed = (top / "other").stat().st_ctime_ns
    assert tree_size(str(top), changed)[0] in (0, len(os.readlink(top / "link")))


def test_a_directory_that_cannot_be_read_is_looked_at_from_inside(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed/file").write_bytes(b"1234")
    (tmp_path / "closed").chmod(0)
    try:
        assert tree_size(str(tmp_path), ALL) == (0, False)
        from rootless.kernel.idmaps import default_user_map
        from rootless.kernel.userns import UserNamespace

        assert sizes_of([(str(tmp_path), ALL)], lambda: UserNamespace.create(default_user_map())) == [4]
    finally:
        (tmp_path / "closed").chmod(0o700)
