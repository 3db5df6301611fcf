"""Other programs and the specification say whether what is written here is right, and whether anything got lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from storage.documents.manifests import OCI_INDEX
from tests.conftest import need
from tests.support.archives import archive, layer, members
from tests.support.command import Rootless
from tests.support.images import busybox_layer, docker_archive
from tests.support.layers import Packed, PackedImage, make_image, tar_of
from tests.support.podman import own_podman
from tests.support.pulling import OPEN
from tests.support.pulling import registry as registry
from tests.support.registry import Registry
from tests.support.schemas import CONFIG, INDEX, LAYOUT, MANIFEST, need_schemas, validate
from tests.support.tarmakers import all_tars

RUNTIME: dict[str, Any] = {
    "User": "1000:1000",
    "ExposedPorts": {"80/tcp": {}},
    "Env": ["PATH=/usr/bin:/bin"],
    "Entrypoint": ["/bin/sh"],
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "Labels": {"maker": "tests"},
    "StopSignal": "SIGINT",
}


def tool(*command: str, **more: Any) -> str:
    need(command[0])
    done = subprocess.run(command, capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return str(done.stdout)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layout_files(image: PackedImage, name: str = "") -> dict[str, bytes]:
    """The files of an OCI layout of one image."""
    annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [image.manifest.descriptor(**annotations)],
    }
    blobs: tuple[Packed, ...] = (image.manifest, image.config, *image.layers)
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **{f"blobs/sha256/{blob.hex}": blob.data for blob in blobs},
    }


def saved_layers(command: Rootless, name: str, out: Path) -> list[bytes]:
    """The plain tars of an image's layers, the lowest first."""
    command("save", "-q", "-o", str(out), name)
    found = members(out)
    return [found[file] for file in json.loads(found["manifest.json"])[0]["Layers"]]


@pytest.mark.parametrize("packing", ["none", "gzip", "zstd"])
def test_what_is_written_is_valid_by_the_schemas_of_the_specification(
    fresh: Rootless, tmp_path: Path, packing: str
) -> None:
    need_schemas()
    image = make_image([tar_of({"a": b"1"}), tar_of({"b": b"2"})], [packing] * 2, docker=packing == "none", **RUNTIME)
    path = archive(tmp_path / "in.tar", layout_files(image, "docker.io/me/valid:1"))
    fresh("load", "-q", "-i", str(path))
    fresh("import", "-q", "--change", "CMD /bin/sh", "--change", "EXPOSE 80", str(path), "me/imported:1")
    fresh("save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "archive.tar"), "me/valid:1", "me/imported:1")
    fresh("save", "-q", "--format", "oci-dir", "-o", str(tmp_path / "saved"), "me/imported:1")
    for place in ("saved", "pushed"):
        fresh("push", "-q", "me/valid:1", f"oci:{tmp_path}/{place}:name")
    found = [members(tmp_path / "archive.tar")]
    for place in ("saved", "pushed"):
        top = tmp_path / place
        found.append({str(file.relative_to(top)): file.read_bytes() for file in top.rglob("*") if file.is_file()})
    for files in found:
        validate(files["oci-layout"], LAYOUT)
        index = validate(files["index.json"], INDEX)
        assert index["manifests"]
        for entry in index["manifests"]:
            manifest = validate(blob(files, entry), MANIFEST)
            validate(blob(files, manifest["config"]), CONFIG)
            for described in manifest["layers"]:
                blob(files, described)


def blob(files: dict[str, bytes], described: dict[str, Any]) -> bytes:
    data = files[f"blobs/{described['digest'].replace(':', '/')}"]
    assert (sha256(data), len(data)) == (described["digest"], described["size"])
    return data


def test_every_tar_comes_back_byte_for_byte_also_when_the_blobs_have_gone(fresh: Rootless, tmp_path: Path) -> None:
    """All makers' tars as the layers of one image, which comes in compressed; then only the records are left."""
    need("bsdtar")
    work = tmp_path / "work"
    work.mkdir()
    tars = all_tars(work)
    assert len(tars) > 20
    image = make_image(list(tars.values()), [("gzip", "zstd", "none")[number % 3] for number in range(len(tars))])
    fresh("load", "-q", "-i", str(archive(tmp_path / "in.tar", layout_files(image, "docker.io/me/tars:1"))))
    before = fresh.inspect_image("me/tars:1")
    assert before["RootFS"]["Layers"] == [sha256(data) for data in tars.values()]
    fresh("save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "kept.tar"), "me/tars:1")
    assert members(tmp_path / "kept.tar")[f"blobs/sha256/{image.manifest.hex}"] == image.manifest.data
    assert os.listdir(fresh.root / "blobs/sha256")
    fresh("system", "prune", "-f", "--blobs")
    assert os.listdir(fresh.root / "blobs/sha256") == []
    back = saved_layers(fresh, "me/tars:1", tmp_path / "out.tar")
    assert [name for (name, data), found in zip(tars.items(), back, strict=True) if data != found] == []
    assert fresh.inspect_image("me/tars:1") == before
    fresh("rmi", "-a", "-f")
    assert fresh.out("load", "-q", "-i", str(tmp_path / "out.tar")) == "Loaded image: docker.io/me/tars:1"
    assert fresh.inspect_image("me/tars:1")["RootFS"] == before["RootFS"]
    again = saved_layers(fresh, "me/tars:1", tmp_path / "again.tar")
    assert again == back


def test_layers_that_programs_in_go_have_written(fresh: Rootless, tmp_path: Path) -> None:
    """umoci's, podman's and buildah's tars, compressed by them; diffIDs stay when the blobs have gone."""
    layout, extra = tmp_path / "layout", tmp_path / "extra"
    (extra / "deep").mkdir(parents=True)
    (extra / "deep" / ("n" * 150)).write_bytes(b"1" * 5000)
    (extra / "größe").symlink_to("deep")
    tool("umoci", "init", "--layout", str(layout))
    tool("umoci", "new", "--image", f"{layout}:made")
    tool("umoci", "insert", "--rootless", "--image", f"{layout}:made", str(extra), "/opt")
    with own_podman() as podman:
        podman("load", "-q", "-i", str(docker_archive(tmp_path / "in.tar", [busybox_layer()], names=["a/b:1"])))
        podman("import", "-q", "--change", "CMD x", str(archive(tmp_path / "root.tar", {"x": b"1"})), "localhost/c:1")
        podman("save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "podman.tar"), "a/b:1")
        podman("save", "-q", "--format", "oci-archive", "-o", str(tmp_path / "podman2.tar"), "localhost/c:1")
        own = ["buildah", "--root", str(podman.root), "--runroot", f"{podman.place}/run", "--storage-driver", "vfs"]
        container = tool(*own, "from", "scratch").strip()
        tool(*own, "add", "-q", container, str(extra), "/opt")
        tool(*own, "commit", "-q", "--rm", container, f"oci:{layout}:buildah")
    archives = [f"oci-archive:{tmp_path}/{name}.tar" for name in ("podman", "podman2")]
    for place in (f"oci:{layout}:made", f"oci:{layout}:buildah", *archives):
        image_id = fresh.out("pull", "-q", place)
        before = fresh.inspect_image(image_id)
        digest = json.loads(tool("skopeo", "inspect", place))["Digest"]
        assert before["Digest"] == digest
        fresh("push", "-q", image_id, f"oci:{tmp_path}/copy")
        assert json.loads(tool("skopeo", "inspect", f"oci:{tmp_path}/copy"))["Digest"] == digest
        fresh("system", "prune", "-f", "--blobs")
        tars = saved_layers(fresh, image_id, tmp_path / "out.tar")
        assert [sha256(data) for data in tars] == before["RootFS"]["Layers"]
        subprocess.run(["rm", "-rf", str(tmp_path / "copy")], check=True)


def test_digests_are_the_same_from_registry_to_registry(fresh: Rootless, registry: Registry, tmp_path: Path) -> None:
    """pull -> push -> pull, with skopeo, podman and umoci looking at what is there in between."""
    image = make_image([busybox_layer(), layer({"srv/x": b"1" * 5000})], ["gzip", "gzip"], **RUNTIME)
    first = registry.push("oracle/first", image)
    assert fresh.out("pull", "-q", OPEN, first) == image.id
    second = f"{registry.host}/oracle/second:1"
    fresh("push", "-q", OPEN, first, second)
    there = json.loads(tool("skopeo", "inspect", "--tls-verify=false", f"docker://{second}"))
    assert there["Digest"] == image.manifest.digest
    raw = tool("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{second}")
    assert raw.encode() == image.manifest.data
    fresh("rmi", "-a", "-f")
    assert fresh.out("pull", "-q", OPEN, second) == image.id
    assert fresh.inspect_image(second)["Digest"] == image.manifest.digest
    fresh("push", "-q", second, f"oci:{tmp_path}/layout:x")
    tool(
        "skopeo",
        "copy",
        "-q",
        "--dest-tls-verify=false",
        f"oci:{tmp_path}/layout:x",
        f"docker://{registry.host}/o/third:1",
    )
    third = json.loads(tool("skopeo", "inspect", "--tls-verify=false", f"docker://{registry.host}/o/third:1"))
    assert third["Digest"] == image.manifest.digest
    with own_podman() as podman:
        podman("pull", "-q", "--tls-verify=false", second)
        theirs = podman.inspect(second)
        assert (theirs["Digest"], theirs["Id"]) == (image.manifest.digest, image.id)
        fresh("rmi", "-a", "-f")
        assert fresh.out("pull", "-q", f"containers-storage:[vfs@{podman.root}]{second}") == image.id
        assert fresh.inspect_image(second)["Digest"] == image.manifest.digest


def test_umoci_unpacks_what_is_written(fresh: Rootless, tmp_path: Path) -> None:
    layers = [busybox_layer(), layer({"srv/a": b"1", "srv/b": b"2"}), layer({"srv/.wh.a": b""})]
    fresh(
        "load", "-q", "-i", str(docker_archive(tmp_path / "in.tar", layers, names=["docker.io/me/u:1"], config=RUNTIME))
    )
    fresh("push", "-q", "me/u:1", f"oci:{tmp_path}/layout:x")
    tool("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/layout:x", str(tmp_path / "bundle"))
    root = tmp_path / "bundle/rootfs"
    assert (root / "srv/b").read_text() == "2"
    assert not (root / "srv/a").exists()
    assert (root / "bin/sh").is_symlink()
    process = json.loads((tmp_path / "bundle/config.json").read_text())["process"]
    assert (process["args"], process["cwd"]) == (["/bin/sh"], "/srv")


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci", "dir"])
def test_skopeo_copies_both_ways(fresh: Rootless, tmp_path: Path, kind: str) -> None:
    image = make_image([tar_of({"a": b"1" * 9000}), tar_of({"b": b"2"})], ["gzip", "none"], **RUNTIME)
    fresh("load", "-q", "-i", str(archive(tmp_path / "in.tar", layout_files(image, "docker.io/me/both:1"))))
    name = "" if kind == "dir" else ":me/both:1"
    fresh("push", "-q", "me/both:1", f"{kind}:{tmp_path}/ours{name}")
    preserved = () if kind == "docker-archive" else ("--preserve-digests",)
    tool("skopeo", "copy", "-q", *preserved, f"{kind}:{tmp_path}/ours{name}", f"{kind}:{tmp_path}/theirs{name}")
    fresh("rmi", "-a", "-f")
    assert fresh.out("pull", "-q", f"{kind}:{tmp_path}/theirs{name}") == image.id
    found = fresh.inspect_image(image.id)
    assert found["RootFS"]["Layers"] == [f"sha256:{digest}" for digest in image.diff_ids]
    if preserved:
        assert found["Digest"] == image.manifest.digest
