"""Podman's own store is read, so that users can move over: every driver of it that an ordinary user has."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator

import pytest

from tests.conftest import need
from tests.support.archives import layer
from tests.support.command import Rootless
from tests.support.extraction import member, tar
from tests.support.images import busybox_layer, docker_archive
from tests.support.layers import make_image, tar_of
from tests.support.podman import Podman, own_podman
from tests.support.pulling import registry as registry
from tests.support.registry import Registry

OWNED = tar(
    *[member(f"srv/{number}", data=b"x" * number, uid=number, gid=number, mode=0o600) for number in (1, 33, 1000)],
    member("srv/.wh.gone"),
    member("srv/" + "long" * 60, data=b"1"),
    member("srv/\udcff", data=b"not UTF-8"),
)


@pytest.fixture(scope="module", params=["overlay", "vfs"])
def podman(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    need("podman")
    place = tmp_path_factory.mktemp("images")
    layers = [busybox_layer(), layer({"srv/gone": b"1"}), OWNED]
    docker_archive(place / "one.tar", layers, names=["docker.io/me/one:1", "localhost/again:2"])
    docker_archive(place / "two.tar", layers[:2], names=["docker.io/library/two:latest"])
    with own_podman(request.param) as made:
        for name in ("one.tar", "two.tar"):
            made("load", "-q", "-i", str(place / name))
        yield made


def source(podman: Podman, name: str) -> str:
    return f"containers-storage:[{podman.driver}@{podman.root}+{podman.place}/run]{name}"


def test_an_image_moves_over_with_all_its_bytes(fresh: Rootless, podman: Podman) -> None:
    theirs = podman.inspect("me/one:1")
    assert fresh.out("pull", "-q", source(podman, "me/one:1")) == theirs["Id"]
    ours = fresh.inspect_image("me/one:1")
    assert ours["RootFS"] == theirs["RootFS"]
    assert ours["RootFS"]["Layers"][2] == f"sha256:{hashlib.sha256(OWNED).hexdigest()}"
    assert ours["Digest"] == theirs["Digest"]
    assert ours["RepoDigests"] == [f"docker.io/me/one@{theirs['Digest']}"]
    listed = fresh.out("run", "--rm", "--network", "none", "me/one:1", "stat", "-c", "%u %s", "/srv/33", "/srv/1000")
    assert listed.split() == ["33", "33", "1000", "1000"]


def test_by_id_all_names_come_along_and_layers_are_read_once(fresh: Rootless, podman: Podman) -> None:
    fresh("pull", "-q", source(podman, "two"))
    said = fresh("pull", source(podman, podman.inspect("me/one:1")["Id"][:12])).stderr
    assert said.count("already here") == 2
    listed = fresh.out("images", "--noheading", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert sorted(listed) == ["docker.io/library/two:latest", "docker.io/me/one:1", "localhost/again:2"]


def test_what_is_missing_is_told_with_what_is_there(fresh: Rootless, podman: Podman) -> None:
    failed = fresh("pull", source(podman, "three"), check=False)
    assert failed.returncode == 125
    assert "docker.io/library/two:latest, docker.io/me/one:1, localhost/again:2" in failed.stderr
    failed = fresh("pull", f"containers-storage:[btrfs@{podman.root}]two", check=False)
    assert f"no images of the driver btrfs (but of: {podman.driver})" in failed.stderr
    assert "no such file" in fresh("pull", "containers-storage:[/nowhere]two", check=False).stderr.lower()


def test_the_store_of_the_user_is_found_where_podman_looks(fresh: Rootless, podman: Podman) -> None:
    place = fresh.place / "home/.local/share/containers"
    place.mkdir(parents=True)
    (place / "storage").symlink_to(podman.root)
    image_id = podman.inspect("two")["Id"]
    assert fresh.out("pull", "-q", "containers-storage:two") == image_id
    (place / "storage").unlink()
    assert fresh("pull", "containers-storage:two", check=False).returncode == 125
    configuration = fresh.place / "home/.config/containers/storage.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f'[storage]\ndriver = "{podman.driver}"\ngraphroot = "{podman.root}"\n')
    assert fresh.out("run", "--rm", "--network", "none", "containers-storage:localhost/again:2", "echo", "hi") == "hi"
    other = fresh.place / "storage.conf"
    other.write_text('[storage]\ngraphroot = "$HOME/nothing"\n')
    failed = fresh("pull", "containers-storage:two", check=False, env={"CONTAINERS_STORAGE_CONF": str(other)})
    assert f"{fresh.place}/home/nothing" in failed.stderr


def test_nothing_is_written_in_podmans_store(fresh: Rootless, podman: Podman) -> None:
    def state() -> dict[str, int]:
        return {
            str(path): path.lstat().st_mtime_ns for path in podman.root.glob(f"{podman.driver}*/*") if path.exists()
        }

    before = state()
    fresh("pull", "-q", source(podman, "me/one:1"))
    assert state() == before


def test_a_damaged_layer_of_podmans_is_refused(fresh: Rootless, podman: Podman) -> None:
    record = json.loads((podman.root / f"{podman.driver}-layers/layers.json").read_text())
    top = next(entry["id"] for entry in record if entry["diff-digest"].endswith(hashlib.sha256(OWNED).hexdigest()))
    split = podman.root / f"{podman.driver}-layers/{top}.tar-split.gz"
    kept = split.read_bytes()
    try:
        split.write_bytes(kept[: len(kept) // 2])
        failed = fresh("pull", source(podman, "me/one:1"), check=False)
        assert failed.returncode == 125
        assert "gzip stream ends too early" in failed.stderr
        split.unlink()
        failed = fresh("pull", source(podman, "me/one:1"), check=False)
        assert "tar-split.gz: No such file" in failed.stderr
        assert "podman save NAME | rootless load" in failed.stderr
    finally:
        split.write_bytes(kept)
        os.chmod(split, 0o600)
    assert fresh.out("images", "-q") == ""
    assert os.listdir(fresh.root / "tmp") == []
    fresh("pull", "-q", source(podman, "me/one:1"))


def test_an_image_that_podman_has_by_its_digest(fresh: Rootless, podman: Podman, registry: Registry) -> None:
    need("docker-registry")
    image = make_image([tar_of({"by": b"digest"})])
    registry.push("by/digest", image)
    name = f"{registry.host}/by/digest@{image.manifest.digest}"
    podman("pull", "-q", "--tls-verify=false", name)
    for text in (name, image.id):
        assert fresh.out("pull", "-q", source(podman, text)) == image.id
        assert fresh.inspect_image(name)["RepoDigests"] == [name]
        assert fresh.out("images", "--noheading", "--format", "{{.Repository}}:{{.Tag}}").endswith(":<none>")
        fresh("rmi", image.id)
