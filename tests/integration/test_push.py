"""Pushing to a real registry: what arrives, and what is not sent again."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from rootless.jsontext import loads
from storage.documents.manifests import DOCKER_MANIFEST, OCI_MANIFEST
from tests.conftest import need
from tests.support.command import Rootless
from tests.support.images import busybox_layer, docker_archive
from tests.support.layers import make_image, manifest_of, tar_of
from tests.support.pulling import OPEN, big, registry, small, stored
from tests.support.registry import Registry

__all__ = ["registry"]


def manifest_at(registry: Registry, name: str) -> tuple[bytes, str]:
    """The manifest of "repository:tag", and its media type."""
    repository, _, tag = name.rpartition(":")
    accept = f"{OCI_MANIFEST}, {DOCKER_MANIFEST}"
    answer = registry.request("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": accept})
    return answer.data, answer.headers["content-type"]


def blob_at(registry: Registry, repository: str, digest: str) -> bytes:
    return registry.request("GET", f"/v2/{repository}/blobs/{digest}").data


def sent(registry: Registry, repository: str) -> list[str]:
    """The requests that have brought content into a repository, by the registry's own log."""
    return [
        line
        for method in ("PATCH", "PUT")
        for line in registry.lines(method)
        if line.startswith(f"/v2/{repository}/blobs/")
    ]


def push(command: Rootless, *args: str, **more: object) -> subprocess.CompletedProcess[str]:
    return command("push", OPEN, *args, **more)  # type: ignore[arg-type]


@pytest.fixture
def loaded(fresh: Rootless, busybox: Path) -> Rootless:
    """A store with the busybox image, whose layer was never compressed."""
    fresh("load", "-q", "-i", str(busybox))
    return fresh


@pytest.mark.parametrize(
    "packing, docker", [("gzip", False), ("gzip", True), ("zstd", False), ("none", False), ("none", True)]
)
def test_what_was_pulled_arrives_byte_for_byte(
    fresh: Rootless, registry: Registry, tmp_path: Path, packing: str, docker: bool
) -> None:
    image = make_image([tar_of({"a": b"1" * 5000}), tar_of({"b": b"2"})], [packing] * 2, docker=docker)
    name = registry.push(f"from/{packing}-{docker}".lower(), image)
    fresh("pull", "-q", OPEN, name)
    target = f"to/{packing}-{docker}:1".lower()
    push(fresh, name, f"{registry.host}/{target}", "--digestfile", str(tmp_path / "digest"))
    assert manifest_at(registry, target) == (image.manifest.data, image.manifest.media_type)
    assert (tmp_path / "digest").read_text() == image.manifest.digest
    fresh("rmi", "-a", "-f")
    fresh("pull", "-q", OPEN, f"{registry.host}/{target}")
    assert fresh.inspect_image(f"{registry.host}/{target}")["Digest"] == image.manifest.digest


def test_blobs_are_taken_over_from_where_they_came_from(fresh: Rootless, registry: Registry) -> None:
    image = big(11, 2)
    name = registry.push("source/app", image)
    fresh("pull", "-q", OPEN, name)
    push(fresh, name, f"{registry.host}/target/app:1")
    mounts = [line for line in registry.lines("POST") if line.startswith("/v2/target/app/") and "from=source" in line]
    assert len(mounts) == 2
    assert all(line.endswith(" 201") for line in mounts)
    assert len(sent(registry, "target/app")) == 1  # the configuration
    for layer in image.layers:
        assert blob_at(registry, "target/app", layer.digest) == layer.data


def test_a_second_push_sends_nothing(loaded: Rootless, registry: Registry) -> None:
    push(loaded, "busybox", f"{registry.host}/twice:1")
    before = sent(registry, "twice")
    assert before
    second = push(loaded, "busybox", f"{registry.host}/twice:2")
    assert sent(registry, "twice") == before
    assert "already there" in second.stderr
    assert manifest_at(registry, "twice:1") == manifest_at(registry, "twice:2")


def test_what_was_loaded_is_compressed_and_stays_the_same(loaded: Rootless, registry: Registry, busybox: Path) -> None:
    layer = hashlib.sha256(busybox_layer()).hexdigest()
    push(loaded, "busybox", f"{registry.host}/loaded:1")
    data, kind = manifest_at(registry, "loaded:1")
    (entry,) = loads(data)["layers"]
    blob = blob_at(registry, "loaded", entry["digest"])
    assert kind == DOCKER_MANIFEST
    assert entry["mediaType"] == "application/vnd.docker.image.rootfs.diff.tar.gzip"
    assert entry["size"] == len(blob)
    assert blob[4:9] == bytes(5)  # no time, no flags
    assert hashlib.sha256(gzip.decompress(blob)).hexdigest() == layer
    assert stored(loaded)["blobs"] == [entry["digest"][7:]]
    assert not stored(loaded)["tmp"]
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    assert f"{registry.host}/loaded@{digest}" in loaded.inspect_image("busybox")["RepoDigests"]
    # another store compresses it to the same bytes
    loaded("rmi", "-a", "-f")
    assert not stored(loaded)["blobs"]
    loaded("load", "-q", "-i", str(busybox))
    push(loaded, "busybox", f"{registry.host}/again:1")
    assert manifest_at(registry, "again:1")[0] == data


def test_what_was_pushed_is_found_by_its_digest_here(loaded: Rootless, registry: Registry, tmp_path: Path) -> None:
    push(loaded, "busybox", f"{registry.host}/found:1", "--digestfile", str(tmp_path / "digest"))
    name = f"{registry.host}/found@{(tmp_path / 'digest').read_text()}"
    assert loaded.inspect_image(name)["Id"] == loaded.inspect_image("busybox")["Id"]


def test_the_default_destination_is_the_name(fresh: Rootless, registry: Registry) -> None:
    name = registry.push("own/name", small(3), "v1")
    fresh("pull", "-q", OPEN, name)
    fresh("tag", name, f"{registry.host}/own/other:v2")
    push(fresh, f"{registry.host}/own/other:v2")
    assert manifest_at(registry, "own/other:v2")[0] == small(3).manifest.data
    fresh("tag", name, f"{registry.host}/own/third:v3")
    assert not fresh("image", "push", "-q", OPEN, f"{registry.host}/own/third:v3").stderr
    assert manifest_at(registry, "own/third:v3")[0] == small(3).manifest.data


@pytest.mark.parametrize("kind", ["oci", "v2s2"])
def test_the_format_is_changed(fresh: Rootless, registry: Registry, kind: str) -> None:
    image = make_image([tar_of({"a": b"1"}), tar_of({"b": b"2"})], docker=kind == "oci")
    name = registry.push(f"format/{kind}", image)
    fresh("pull", "-q", OPEN, name)
    push(fresh, "--format", kind, name, f"{registry.host}/format/{kind}:new")
    data, media_type = manifest_at(registry, f"format/{kind}:new")
    assert media_type == (OCI_MANIFEST if kind == "oci" else DOCKER_MANIFEST)
    expected = make_image([tar_of({"a": b"1"}), tar_of({"b": b"2"})], docker=kind != "oci")
    found = loads(data)
    assert [entry["digest"] for entry in found["layers"]] == [layer.digest for layer in image.layers]
    assert [entry["mediaType"] for entry in found["layers"]] == [layer.media_type for layer in expected.layers]
    assert found["config"]["digest"] == image.config.digest
    assert found["config"]["mediaType"] == expected.config.media_type


def test_layers_are_compressed_anew_where_that_is_asked_for(fresh: Rootless, registry: Registry) -> None:
    tars = [tar_of({"a": b"text " * 4000}), tar_of({"b": b"2"})]
    image = make_image(tars)
    name = registry.push("packing/gzip", image)
    fresh("pull", "-q", OPEN, name)
    target = f"{registry.host}/packing/zstd"
    push(fresh, "--compression-format", "zstd", name, f"{target}:1")
    found = loads(manifest_at(registry, "packing/zstd:1")[0])
    assert {entry["mediaType"] for entry in found["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert not stored(fresh)["tmp"]
    assert stored(fresh)["blobs"] == sorted(layer.hex for layer in image.layers)  # as they came
    push(fresh, "--compression-format", "zstd", "--force-compression=false", name, f"{target}:2")
    assert manifest_at(registry, "packing/zstd:2")[0] == image.manifest.data
    push(fresh, "--compression-format", "gzip", name, f"{target}:3")
    assert manifest_at(registry, "packing/zstd:3")[0] == image.manifest.data
    push(fresh, "--compression-level", "9", "--force-compression", name, f"{target}:4")
    best = loads(manifest_at(registry, "packing/zstd:4")[0])["layers"]
    assert best[0]["size"] < len(image.layers[0].data)
    for entry, tar in zip(best, tars, strict=True):
        assert gzip.decompress(blob_at(registry, "packing/zstd", entry["digest"])) == tar


def test_annotations_stay_in_oci_manifests(fresh: Rootless, registry: Registry) -> None:
    plain = small(5)
    data = json.loads(manifest_of(plain.config, plain.layers, annotations={"org.example": "yes"}).data)
    data["layers"][0]["annotations"] = {"of": "layer"}
    for blob in (plain.config, *plain.layers):
        registry.push_blob("annotated", blob)
    registry.push_manifest("annotated", "1", json.dumps(data).encode(), OCI_MANIFEST)
    fresh("pull", "-q", OPEN, f"{registry.host}/annotated:1")
    push(fresh, "--compression-format", "zstd", f"{registry.host}/annotated:1", f"{registry.host}/annotated:2")
    found = loads(manifest_at(registry, "annotated:2")[0])
    assert found["annotations"] == {"org.example": "yes"}
    assert found["layers"][0]["annotations"] == {"of": "layer"}


def test_skopeo_accepts_what_was_pushed(loaded: Rootless, registry: Registry, tmp_path: Path) -> None:
    need("skopeo")
    push(loaded, "--format", "oci", "--compression-format", "zstd", "busybox", f"{registry.host}/skopeo:1")
    target = tmp_path / "layout"
    copied = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{registry.host}/skopeo:1", f"oci:{target}:x"]
    subprocess.run(copied, check=True, timeout=60)
    shown = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry.host}/skopeo:1"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    data, _ = manifest_at(registry, "skopeo:1")
    assert json.loads(shown.stdout)["Digest"] == "sha256:" + hashlib.sha256(data).hexdigest()


def test_an_image_of_twice_the_same_layer(fresh: Rootless, registry: Registry) -> None:
    tar = tar_of({"same": b"1"})
    name = registry.push("double/app", make_image([tar, tar]))
    fresh("pull", "-q", OPEN, name)
    push(fresh, "--compression-format", "zstd", name, f"{registry.host}/double/new:1")
    first, second = loads(manifest_at(registry, "double/new:1")[0])["layers"]
    assert first == second


def test_many_layers_are_compressed_in_batches(fresh: Rootless, registry: Registry, tmp_path: Path) -> None:
    layers = [tar_of({f"file-{number}": b"%d" % number}) for number in range(30)]
    archive = docker_archive(tmp_path / "many.tar", layers, names=["docker.io/library/many:1"])
    fresh("load", "-q", "-i", str(archive))
    push(fresh, "many:1", f"{registry.host}/many:1")
    entries = loads(manifest_at(registry, "many:1")[0])["layers"]
    assert [gzip.decompress(blob_at(registry, "many", entry["digest"])) for entry in entries] == layers


def test_blobs_that_were_let_go_are_asked_for_before_they_are_made(fresh: Rootless, registry: Registry) -> None:
    image = small(8)
    name = registry.push("gone/app", image)
    fresh("pull", "-q", OPEN, name)
    from storage.database import transaction
    from storage.store import Store

    store = Store(str(fresh.root), str(fresh.runroot))
    with transaction(store.db) as db:
        db.execute("UPDATE layers SET blob = NULL, blob_size = NULL, media_type = NULL")
    for blob in (fresh.root / "blobs/sha256").iterdir():
        blob.unlink()
    push(fresh, name, f"{registry.host}/gone/app:again")
    assert manifest_at(registry, "gone/app:again")[0] == image.manifest.data
    push(fresh, name, f"{registry.host}/gone/new:1")  # taken over from where it came from
    assert manifest_at(registry, "gone/new:1")[0] == image.manifest.data


@pytest.mark.parametrize(
    "words, told",
    [
        (("--compression-level", "10"), "gzip has the levels 1 to 9"),
        (("--compression-format", "zstd", "--compression-level", "0"), "zstd has the levels 1 to 22"),
        (("--compression-format", "zstd", "--format", "v2s2"), "no zstd"),
        (("--format", "v1"), "--format"),
        (("--sign-by", "me"), "not supported yet"),
        (("--remove-signatures",), "not supported yet"),
        (("--creds", ":x"), "no user name"),
    ],
)
def test_options_that_make_no_sense(rl: Rootless, image: str, words: tuple[str, ...], told: str) -> None:
    failed = rl("push", *words, image, "127.0.0.1:1/x", check=False)
    assert failed.returncode == 125
    assert told in failed.stderr


def test_destinations_that_are_none(rl: Rootless, image: str) -> None:
    for words, told in (
        ((image, "Upper/Case"), "lowercase"),
        ((image, "http://127.0.0.1:1/x"), "URL"),
        (("no-such-image", "127.0.0.1:1/x"), "no such image"),
        ((image, "127.0.0.1:1/x"), "connection refused"),
    ):
        failed = rl("push", *words, check=False)
        assert failed.returncode == 125, words
        assert told in failed.stderr, words


def test_a_digest_as_destination_must_be_the_images(fresh: Rootless, registry: Registry) -> None:
    image = small(9)
    name = registry.push("by/digest", image)
    fresh("pull", "-q", OPEN, name)
    push(fresh, name, f"{registry.host}/by/new@{image.manifest.digest}")
    answer = registry.request("GET", f"/v2/by/new/manifests/{image.manifest.digest}", headers={"Accept": OCI_MANIFEST})
    assert answer.data == image.manifest.data
    failed = push(fresh, name, f"{registry.host}/by/new@sha256:{'0' * 64}", check=False)
    assert failed.returncode == 125
    assert f"the manifest has the digest {image.manifest.digest}" in failed.stderr


def test_foreign_layers_are_refused(fresh: Rootless, registry: Registry) -> None:
    """No pull or load lets one in; an older store may have one."""
    from storage.database import transaction
    from storage.store import Store

    name = registry.push("foreign/app", small(10))
    fresh("pull", "-q", OPEN, name)
    store = Store(str(fresh.root), str(fresh.runroot))
    with transaction(store.db) as db:
        (manifest,) = db.execute("SELECT manifest FROM images").fetchone()
        changed = bytes(manifest).replace(b"layer.v1.tar", b"layer.nondistributable.v1.tar")
        db.execute("UPDATE images SET manifest = ?", (changed,))
    failed = push(fresh, name, f"{registry.host}/foreign/new", check=False)
    assert failed.returncode == 125
    assert "may not be distributed" in failed.stderr
    assert not sent(registry, "foreign/new")


def test_other_transports_are_written(loaded: Rootless, tmp_path: Path) -> None:
    loaded("push", "-q", "busybox", f"oci:{tmp_path}/layout:1", "--digestfile", str(tmp_path / "digest"))
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert index["manifests"][0]["digest"] == (tmp_path / "digest").read_text()
