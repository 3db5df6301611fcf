"""Names with transports: what `pull`, `run` and `push` do with archives and directories is what Podman does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.archives import archive, layer, members
from tests.support.command import Rootless
from tests.support.images import busybox_layer, docker_archive
from tests.support.layers import Packed, index_of, make_image, tar_of

LAYERS = [layer({"etc/one": b"1\n"}), layer({"srv/two": b"2" * 3000})]


@pytest.fixture
def two_names(tmp_path: Path) -> Path:
    return docker_archive(tmp_path / "names.tar", LAYERS, names=["docker.io/me/app:1", "docker.io/me/app:2"])


def skopeo(*args: str) -> str:
    need("skopeo")
    done = subprocess.run(["skopeo", "--insecure-policy", *args], capture_output=True, text=True)
    assert done.returncode == 0, f"skopeo {' '.join(args)}: {done.stderr}"
    return done.stdout


def names(command: Rootless) -> set[str]:
    return set(command.out("images", "--noheading", "--format", "{{.Repository}}:{{.Tag}}").split())


def refused(command: Rootless, *args: str) -> str:
    failed = command(*args, check=False)
    assert failed.returncode == 125
    return failed.stderr


def index_in(place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((place / "index.json").read_text())["manifests"]
    return found


def labels(place: Path) -> list[str | None]:
    return [(entry.get("annotations") or {}).get("org.opencontainers.image.ref.name") for entry in index_in(place)]


def test_a_docker_archive_gives_all_names_or_the_one_that_is_asked_for(fresh: Rootless, two_names: Path) -> None:
    image_id = fresh.out("pull", "-q", f"docker-archive:{two_names}:me/app:2")
    assert names(fresh) == {"docker.io/me/app:2"}
    assert fresh.out("pull", "-q", f"docker-archive:{two_names}") == image_id
    assert names(fresh) == {"docker.io/me/app:1", "docker.io/me/app:2"}
    assert "there is no image docker.io/me/app:latest" in refused(fresh, "pull", f"docker-archive:{two_names}:me/app")
    assert "there is no number 1" in refused(fresh, "pull", f"docker-archive:{two_names}:@1")
    assert "not the number" in refused(fresh, "pull", f"docker-archive:{two_names}:@x")


def test_of_several_images_in_an_archive_one_is_to_be_named(fresh: Rootless, tmp_path: Path) -> None:
    for number in (1, 2):
        path = docker_archive(tmp_path / f"{number}.tar", LAYERS[:number], names=[f"docker.io/me/app:{number}"])
        fresh("load", "-q", "-i", str(path))
    ids = {n: fresh.inspect_image(f"me/app:{n}")["Id"] for n in (1, 2)}
    for format, kind in (("docker-archive", "docker-archive"), ("oci-archive", "oci-archive"), ("oci-dir", "oci")):
        both = tmp_path / f"both.{format}"
        fresh("save", "-q", "--format", format, "-o", str(both), "me/app:1", "me/app:2")
        said = refused(fresh, "pull", f"{kind}:{both}")
        assert "2 images" in said
        assert "docker.io/me/app:2" in said
        assert fresh.out("pull", "-q", f"{kind}:{both}:@1") == ids[2]
        assert fresh.out("pull", "-q", f"{kind}:{both}:docker.io/me/app:1") == ids[1]
        fresh("rmi", "-a", "-f")
        loaded = fresh.out("load", "-q", "-i", str(both)).splitlines()
        assert loaded == [f"Loaded image: docker.io/me/app:{number}" for number in (1, 2)]


def test_an_image_without_a_name_stays_without_one(fresh: Rootless, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "none.tar", LAYERS, names=[])
    image_id = fresh.out("pull", "-q", f"docker-archive:{path}")
    skopeo("copy", "-q", f"docker-archive:{path}", f"dir:{tmp_path}/dir")
    assert fresh.out("pull", "-q", f"dir:{tmp_path}/dir") == image_id
    assert names(fresh) == {"<none>:<none>"}


def test_names_out_of_oci_layouts_are_those_that_podman_gives(fresh: Rootless, two_names: Path, tmp_path: Path) -> None:
    """In an oci-archive the name inside counts, in a directory the one in the reference, made whole like any other."""
    skopeo("copy", "-q", f"docker-archive:{two_names}:me/app:1", f"oci:{tmp_path}/layout:plain")
    skopeo("copy", "-q", f"docker-archive:{two_names}:me/app:1", f"oci-archive:{tmp_path}/layout.tar:plain")
    image_id = fresh.out("pull", "-q", f"oci:{tmp_path}/layout")
    assert names(fresh) == {"<none>:<none>"}
    assert fresh.out("pull", "-q", "oci:layout:plain", cwd=tmp_path) == image_id
    assert names(fresh) == {"docker.io/library/plain:latest"}
    assert fresh.out("pull", "-q", f"oci-archive:{tmp_path}/layout.tar") == image_id
    assert names(fresh) == {"docker.io/library/plain:latest", "localhost/plain:latest"}
    assert "there is no image other" in refused(fresh, "pull", f"oci:{tmp_path}/layout:other")


def test_of_several_platforms_in_a_layout_the_wanted_one_is_taken(fresh: Rootless, tmp_path: Path) -> None:
    images = {f"linux/{name}": make_image([tar_of({name: b"x"})], architecture=name) for name in ("amd64", "s390x")}
    inner = index_of({platform: image.manifest for platform, image in images.items()})
    outer = Packed(json.dumps({"schemaVersion": 2, "manifests": [inner.descriptor()]}).encode(), inner.media_type)
    blobs = [inner, *(blob for image in images.values() for blob in (image.manifest, image.config, *image.layers))]
    content = {f"blobs/sha256/{blob.hex}": blob.data for blob in blobs}
    content |= {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": outer.data}
    path = archive(tmp_path / "both.tar", content)
    for platform, image in images.items():
        assert fresh.out("pull", "-q", "--platform", platform, f"oci-archive:{path}") == image.id
    assert "only for linux/amd64" in refused(fresh, "pull", "--platform", "linux/riscv64", f"oci-archive:{path}")


def test_the_wrong_transport_or_place_is_told(fresh: Rootless, two_names: Path, tmp_path: Path) -> None:
    assert "no such file or directory" in refused(fresh, "pull", "dir:/nowhere")
    assert f"docker-archive:{two_names}" in refused(fresh, "pull", f"oci-archive:{two_names}")
    assert "is a directory" in refused(fresh, "pull", f"docker-archive:{tmp_path}")
    assert "is a file" in refused(fresh, "pull", f"oci:{two_names}")
    assert "it names no file" in refused(fresh, "pull", "docker-archive:")
    assert "neither manifest.json nor index.json" in refused(fresh, "pull", f"dir:{tmp_path}")
    assert names(fresh) == set()


def test_a_container_runs_from_an_archive_that_is_read_first(fresh: Rootless, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "run.tar", [busybox_layer()], names=["docker.io/me/run:1"])
    run = ("run", "--rm", "--network", "none")
    assert fresh.out(*run, f"docker-archive:{path}", "echo", "first") == "first"
    assert fresh.out(*run, "--pull", "never", f"docker-archive:{path}", "echo", "again") == "again"
    assert fresh.out(*run, "docker://me/run:1", "echo", "by name") == "by name"
    container = fresh.out("create", f"docker-archive:{path}", "true")
    assert fresh.inspect(container)["ImageName"] == "docker.io/me/run:1"


def test_pushing_into_a_layout_leaves_its_other_images(fresh: Rootless, two_names: Path, tmp_path: Path) -> None:
    other = docker_archive(tmp_path / "other.tar", LAYERS[1:], names=["docker.io/me/other:1"])
    for path in (two_names, other):
        fresh("load", "-q", "-i", str(path))
    place = tmp_path / "layout"
    fresh("push", "-q", "me/app:1", "oci:layout:x", cwd=tmp_path)
    fresh("push", "-q", "me/other:1", f"oci:{place}:y")
    fresh("push", "-q", "me/other:1", f"oci:{place}")
    assert labels(place) == ["x", "y", None]
    first = index_in(place)[0]["digest"]
    fresh("push", "-q", "--digestfile", str(tmp_path / "digest"), "me/other:1", f"oci:{place}:x")
    fresh("push", "-q", "me/other:1", f"oci:{place}")
    assert sorted(str(label) for label in labels(place)) == ["None", "x", "y"]
    assert {entry["digest"] for entry in index_in(place)} == {(tmp_path / "digest").read_text()} != {first}
    for name in (":x", ":y"):
        assert json.loads(skopeo("inspect", f"oci:{place}{name}"))["Digest"] == (tmp_path / "digest").read_text()
    assert not [path for path in place.rglob("*") if path.name.endswith(".partial")]
    for path in (place / "blobs/sha256").iterdir():
        os.truncate(path, 7)  # somebody else's copying was interrupted
    for name in ("me/app:1", "me/other:1"):
        fresh("push", "-q", name, f"oci:{place}:x")
        skopeo("copy", "-q", f"oci:{place}:x", f"dir:{tmp_path}/copy")


def test_what_is_pushed_elsewhere_comes_back_as_the_same_image(
    fresh: Rootless, two_names: Path, tmp_path: Path
) -> None:
    fresh("load", "-q", "-i", str(two_names))
    before = fresh.inspect_image("me/app:1")
    for place in ("oci:a:me/app:1", "oci-archive:b.tar:me/app:1", "docker-archive:c.tar", "dir:d"):
        fresh("push", "-q", "--digestfile", "digest", "me/app:1", place, cwd=tmp_path)
        there = json.loads(skopeo("inspect", place.replace(":", f":{tmp_path}/", 1)))
        if not place.startswith("docker-archive"):  # has no manifest: skopeo writes one by its own taste
            assert there["Digest"] == (tmp_path / "digest").read_text()
        fresh("rmi", "-a", "-f")
        assert fresh.out("pull", "-q", place, cwd=tmp_path) == before["Id"]
        assert fresh.inspect_image(before["Id"])["RootFS"] == before["RootFS"]
        fresh("tag", before["Id"], "me/app:1")
    assert json.loads(members(tmp_path / "c.tar")["manifest.json"])[0]["RepoTags"] == ["docker.io/me/app:1"]


def test_a_directory_takes_the_next_image_in_the_place_of_the_last(
    fresh: Rootless, two_names: Path, tmp_path: Path
) -> None:
    other = docker_archive(tmp_path / "other.tar", LAYERS[1:], names=["docker.io/me/other:1"])
    for path in (two_names, other):
        fresh("load", "-q", "-i", str(path))
    place = tmp_path / "dir"
    fresh("push", "-q", "me/app:1", f"dir:{place}")
    (place / "signature-1").write_text("of the first image")
    (place / "notes").write_text("somebody's")
    fresh("push", "-q", "--format", "oci", "me/other:1", f"dir:{place}")
    manifest = json.loads((place / "manifest.json").read_text())
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    digests = {entry["digest"].removeprefix("sha256:") for entry in (manifest["config"], *manifest["layers"])}
    assert set(os.listdir(place)) == {"version", "manifest.json", "notes", *digests}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis").write_text("precious")
    for transport in ("dir", "oci"):
        assert "a new directory" in refused(fresh, "push", "me/app:1", f"{transport}:{mine}")
    assert os.listdir(mine) == ["thesis"]


def test_destinations_that_do_not_take_an_image(fresh: Rootless, two_names: Path, tmp_path: Path) -> None:
    fresh("load", "-q", "-i", str(two_names))
    before = two_names.read_bytes()
    assert "cannot be added to" in refused(fresh, "push", "me/app:1", f"docker-archive:{two_names}:me/x")
    assert two_names.read_bytes() == before
    assert "podman load" in refused(fresh, "push", "me/app:1", "containers-storage:me/app:1")
    assert "docker save" in refused(fresh, "push", "me/app:1", "docker-daemon:me/app:1")
    assert "cannot be chosen" in refused(fresh, "push", "me/app:1", f"docker-archive:{tmp_path}/new.tar:@0")
    assert "--format" in refused(fresh, "push", "--format", "v2s2", "me/app:1", f"oci:{tmp_path}/new")
    assert "no such image" in refused(fresh, "push", "me/nothing", f"oci:{tmp_path}/new")
    assert "No space left" in refused(fresh, "push", "me/app:1", "oci-archive:/dev/full")
    assert sorted(os.listdir(tmp_path)) == ["names.tar", "store"]


def test_a_damaged_layer_harms_no_layout(fresh: Rootless, two_names: Path, tmp_path: Path) -> None:
    fresh("load", "-q", "-i", str(two_names))
    place = tmp_path / "layout"
    other = docker_archive(tmp_path / "other.tar", LAYERS[:1], names=["docker.io/me/other:1"])
    fresh("load", "-q", "-i", str(other))
    fresh("push", "-q", "me/other:1", f"oci:{place}:x")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    two = next((fresh.root / "layers").glob("*/diff/srv/two"))
    two.write_bytes(b"3" * 3000)
    assert "its files were changed" in refused(fresh, "push", "me/app:1", f"oci:{place}:x")
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert before.items() <= after.items()
    assert {path.parent.name for path in after.keys() - before.keys()} == {"sha256"}  # whole blobs, which do no harm
    assert not [path for path in after if path.name.endswith(".partial")]


@pytest.mark.parametrize(("transport", "name"), [("oci", "index.json"), ("dir", "version")])
def test_a_fifo_in_a_directory_holds_no_push_up(
    fresh: Rootless, two_names: Path, tmp_path: Path, transport: str, name: str
) -> None:
    fresh("load", "-i", str(two_names))
    place = tmp_path / "place"
    place.mkdir()
    os.mkfifo(place / name)
    refused(fresh, "push", "me/app:1", f"{transport}:{place}")
    assert [entry.name for entry in place.iterdir()] == [name]
