"""Loading and saving: what others write is read here, what is written here others read, and nothing is lost between."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import subprocess
import tarfile
from pathlib import Path

import pytest

from storage.archives.import_rootfs import ImportOptions, import_rootfs
from storage.progress import Progress
from storage.store import Store
from tests.conftest import need
from tests.support.archives import archive, layer, members
from tests.support.command import Rootless
from tests.support.images import docker_archive

LAYERS = [
    layer({"etc/one": b"1\n", "etc/gone": b"x"}),
    layer({"etc/.wh.gone": b"", "srv/two": b"2" * 3000}),
    layer({"etc/one": b"changed\n"}),
]


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A docker-archive of an image of three layers."""
    return docker_archive(tmp_path / "three.tar", LAYERS, names=["docker.io/me/three:1"])


def skopeo(*args: str) -> str:
    need("skopeo")
    return subprocess.run(["skopeo", *args], check=True, capture_output=True, text=True).stdout


def digests(archive: Path) -> list[str]:
    """The layers of an oci-archive as skopeo sees them."""
    found = json.loads(skopeo("inspect", "--raw", f"oci-archive:{archive}"))
    return [entry["digest"] for entry in found["layers"]]


def test_layers_come_out_byte_for_byte_as_they_went_in(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    fresh("load", "-i", str(three))
    out = tmp_path / "out.tar"
    fresh("save", "-o", str(out), "me/three:1")
    found = members(out)
    listed = json.loads(found["manifest.json"])[0]
    assert listed["RepoTags"] == ["docker.io/me/three:1"]
    assert [found[name] for name in listed["Layers"]] == LAYERS
    assert json.loads(found[listed["Config"]]) == json.loads(members(three)[listed["Config"]])


def test_what_is_saved_loads_again_as_the_same_image(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    fresh("load", "-i", str(three))
    before = fresh.out("images", "-q", "--no-trunc")
    for format in ("docker-archive", "oci-archive"):
        out = tmp_path / f"{format}.tar"
        fresh("save", "--format", format, "-o", str(out), "me/three:1")
        fresh("rmi", "me/three:1")
        assert fresh.out("load", "-i", str(out)) == "Loaded image: docker.io/me/three:1"
        assert fresh.out("images", "-q", "--no-trunc") == before


@pytest.mark.parametrize("command", ["cat", "gzip -c", "xz -c", "bzip2 -c", "zstd -c"])
def test_standard_input_and_output_plain_and_compressed(fresh: Rootless, three: Path, command: str) -> None:
    need(command.split()[0])
    fresh("load", "-i", str(three))
    saved = fresh.popen("save", "-q", "me/three:1")
    packed = subprocess.run(command.split(), stdin=saved.stdout, check=True, capture_output=True).stdout
    assert saved.wait() == 0
    fresh("rmi", "me/three:1")
    loader = fresh.popen("load", "-q", stdin=subprocess.PIPE)
    out, error = loader.communicate(packed)
    assert (loader.returncode, out, error) == (0, b"Loaded image: docker.io/me/three:1\n", b"")


def test_several_images_share_one_archive_and_their_layers(fresh: Rootless, tmp_path: Path) -> None:
    for number in (1, 2):
        path = docker_archive(tmp_path / f"{number}.tar", LAYERS[:number], names=[f"docker.io/me/image:{number}"])
        fresh("load", "-i", str(path))
    fresh("tag", "me/image:2", "me/other:2")
    for format in ("docker-archive", "oci-archive"):
        out = tmp_path / f"{format}.tar"
        fresh("save", "--format", format, "-o", str(out), "me/image:1", "me/image:2", "me/other:2")
        with tarfile.open(out) as tar:
            names = tar.getnames()
        assert len(names) == len(set(names))
        fresh("rmi", "-a", "-f")
        fresh("load", "-i", str(out))
        listed = sorted(fresh.out("images", "--format", "{{.Repository}}:{{.Tag}}").split())
        assert listed == ["docker.io/me/image:1", "docker.io/me/image:2", "docker.io/me/other:2"]
        assert len(set(fresh.out("images", "-q").split())) == 2


def test_an_image_saved_by_its_id_has_no_name(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    fresh("load", "-i", str(three))
    image_id = fresh.out("images", "-q", "--no-trunc").removeprefix("sha256:")
    fresh("save", "-o", str(tmp_path / "out.tar"), image_id)
    fresh("rmi", "-a")
    assert fresh.out("load", "-i", str(tmp_path / "out.tar")) == f"Loaded image: sha256:{image_id}"
    assert fresh.out("images", "--noheading").split()[:2] == ["<none>", "<none>"]


def test_skopeo_reads_both_formats(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    fresh("load", "-i", str(three))
    expected = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in LAYERS]
    for format in ("docker-archive", "oci-archive"):
        out = tmp_path / f"{format}.tar"
        fresh("save", "--format", format, "-o", str(out), "me/three:1")
        assert json.loads(skopeo("inspect", f"{format}:{out}"))["Layers"] == expected


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_compressed_layers_of_an_oci_archive_are_kept_byte_for_byte(
    fresh: Rootless, three: Path, tmp_path: Path, packing: str
) -> None:
    packed, out = tmp_path / "packed.tar", tmp_path / "out.tar"
    skopeo("copy", "-q", "--dest-compress-format", packing, f"docker-archive:{three}", f"oci-archive:{packed}:me/x:1")
    fresh("load", "-i", str(packed))
    fresh("save", "--format", "oci-archive", "-o", str(out), "localhost/me/x:1")
    assert digests(out) == digests(packed)
    assert skopeo("inspect", "--raw", f"oci-archive:{out}") == skopeo("inspect", "--raw", f"oci-archive:{packed}")
    fresh("save", "-o", str(tmp_path / "docker.tar"), "localhost/me/x:1")
    found = members(tmp_path / "docker.tar")
    assert [found[name] for name in json.loads(found["manifest.json"])[0]["Layers"]] == LAYERS


def test_directories_that_skopeo_and_umoci_write(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    need("umoci")
    skopeo("copy", "-q", f"docker-archive:{three}", f"oci:{tmp_path}/layout:me/x:1")
    (tmp_path / "dir").mkdir()
    skopeo("copy", "-q", f"docker-archive:{three}", f"dir:{tmp_path}/dir")
    assert fresh.out("load", "-i", str(tmp_path / "layout")) == "Loaded image: localhost/me/x:1"
    image_id = json.loads((tmp_path / "dir" / "manifest.json").read_text())["config"]["digest"]
    assert fresh.out("load", "-i", str(tmp_path / "dir")) == f"Loaded image: {image_id}"
    subprocess.run(
        ["umoci", "config", "--image", f"{tmp_path}/layout:me/x:1", "--config.cmd", "changed", "--tag", "new"],
        check=True,
        capture_output=True,
    )
    fresh("load", "-i", str(tmp_path / "layout"))
    assert json.loads(fresh.out("image", "inspect", "localhost/new"))[0]["Config"]["Cmd"] == ["changed"]


def test_directories_are_what_skopeo_expects(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    fresh("load", "-i", str(three))
    expected = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in LAYERS]
    for format, transport, name in (("oci-dir", "oci", ":docker.io/me/three:1"), ("docker-dir", "dir", "")):
        out = tmp_path / format
        fresh("save", "--format", format, "-o", str(out), "me/three:1")
        assert json.loads(skopeo("inspect", f"{transport}:{out}{name}"))["Layers"] == expected
        skopeo("copy", "-q", f"{transport}:{out}{name}", f"docker-archive:{tmp_path}/{format}.tar:a/b:c")
        assert fresh("save", "--format", format, "-o", str(out), "me/three:1", check=False).returncode == 125
        fresh("rmi", "-a", "-f")
        fresh("load", "-i", str(out))
        fresh("tag", fresh.out("images", "-q"), "me/three:1")
    assert fresh("save", "--format", "oci-dir", "me/three:1", check=False).returncode == 125
    assert not list(tmp_path.glob("*.partial"))


def test_a_compressed_blob_is_copied_into_a_directory(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    packed, out = tmp_path / "packed.tar", tmp_path / "out"
    skopeo("copy", "-q", "--dest-compress-format", "zstd", f"docker-archive:{three}", f"oci-archive:{packed}:me/x:1")
    fresh("load", "-i", str(packed))
    fresh("save", "--format", "oci-dir", "-o", str(out), "localhost/me/x:1")
    assert skopeo("inspect", "--raw", f"oci:{out}") == skopeo("inspect", "--raw", f"oci-archive:{packed}")
    skopeo("copy", "-q", f"oci:{out}", f"oci:{tmp_path}/copy")


def test_compressed_layers_inside_a_docker_archive(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    found = members(three)
    packed = [gzip.compress(LAYERS[0]), lzma.compress(LAYERS[1]), LAYERS[2]]
    manifest = json.loads(found["manifest.json"])[0]
    found.update(zip(manifest["Layers"], packed, strict=True))
    fresh("load", "-i", str(archive(tmp_path / "packed.tar", found)))
    assert json.loads(fresh.out("image", "inspect", "me/three:1"))[0]["RootFS"]["Layers"] == [
        f"sha256:{hashlib.sha256(data).hexdigest()}" for data in LAYERS
    ]


def test_layers_that_are_links_as_docker_wrote_them_for_years(fresh: Rootless, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "plain.tar", [LAYERS[0], LAYERS[0]], names=["docker.io/me/twice:1"])
    found = members(path)
    first, second = f"{'a' * 64}/layer.tar", f"{'b' * 64}/layer.tar"
    manifest = json.loads(found["manifest.json"])
    layer_name = manifest[0]["Layers"][0]
    manifest[0]["Layers"] = [first, second]
    found["manifest.json"] = json.dumps(manifest).encode()
    found[first] = found.pop(layer_name)
    fresh("load", "-i", str(archive(tmp_path / "links.tar", found, {second: f"../{'a' * 64}/layer.tar"})))
    assert len(json.loads(fresh.out("image", "inspect", "me/twice:1"))[0]["RootFS"]["Layers"]) == 2


def test_a_docker_archive_does_not_take_the_original_manifest_away(
    fresh: Rootless, three: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.tar"
    skopeo("copy", "-q", "--dest-compress-format", "zstd", f"docker-archive:{three}", f"oci-archive:{packed}:me/x:1")
    fresh("load", "-i", str(packed))
    before = fresh.out("images", "--digests", "--format", "{{.Digest}}")
    fresh("save", "-o", str(tmp_path / "docker.tar"), "localhost/me/x:1")
    fresh("load", "-i", str(tmp_path / "docker.tar"))
    assert set(fresh.out("images", "--format", "{{.Digest}}").split()) == {before}


def test_import_makes_a_configuration_out_of_changes(fresh: Rootless, tmp_path: Path) -> None:
    path = tmp_path / "rootfs.tar.gz"
    path.write_bytes(gzip.compress(LAYERS[0]))
    changes = ['CMD ["/bin/sh"]', "ENV A=b", "EXPOSE 80", "LABEL x=y", "USER 7", "WORKDIR /srv", "STOPSIGNAL INT"]
    options = [word for change in changes for word in ("--change", change)]
    image_id = fresh.out("import", "-m", "made by hand", *options, str(path), "me/base:1")
    found = json.loads(fresh.out("image", "inspect", "me/base:1"))[0]
    assert image_id == f"sha256:{found['Id']}"
    assert found["Config"] == {
        "Cmd": ["/bin/sh"],
        "Env": ["A=b"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"x": "y"},
        "User": "7",
        "WorkingDir": "/srv",
        "StopSignal": "INT",
    }
    assert found["Comment"] == "made by hand"
    assert found["RootFS"]["Layers"] == [f"sha256:{hashlib.sha256(LAYERS[0]).hexdigest()}"]


def test_a_collector_beside_an_import_leaves_it_its_layer(fresh: Rootless, tmp_path: Path) -> None:
    """The same layer came in before, and its image goes between the extraction and the new image's row."""
    path = tmp_path / "root.tar"
    path.write_bytes(LAYERS[1])
    first = fresh.out("import", "-q", "-m", "the first", str(path))

    class Remover(Progress):
        def done(self, digest: str, note: str = "") -> None:
            fresh("rmi", first)

    second = import_rootfs(Store(str(fresh.root), str(fresh.runroot)), str(path), None, ImportOptions(), Remover())
    assert fresh.out("images", "-q", "--no-trunc") == f"sha256:{second}"
    save = tmp_path / "saved.tar"
    fresh("save", "-o", str(save), second)
    assert LAYERS[1] in members(save).values()


def test_import_from_a_pipe_without_a_name(fresh: Rootless) -> None:
    importer = fresh.popen("import", "-q", "-", stdin=subprocess.PIPE)
    out, error = importer.communicate(gzip.compress(LAYERS[1]))
    assert (importer.returncode, error) == (0, b"")
    assert out.decode().strip() == fresh.out("images", "-q", "--no-trunc")


def test_a_file_that_is_being_saved_appears_when_it_is_whole(fresh: Rootless, three: Path, tmp_path: Path) -> None:
    fresh("load", "-i", str(three))
    out = tmp_path / "there" / "out.tar"
    out.parent.mkdir()
    out.write_text("older")
    diff_id = hashlib.sha256(LAYERS[2]).hexdigest()
    changed = fresh.root / "layers" / diff_id / "diff" / "etc" / "one"
    content = changed.read_bytes()
    changed.write_bytes(b"damaged\n")
    failed = fresh("save", "-o", str(out), "me/three:1", check=False)
    assert failed.returncode == 125
    assert diff_id[:12] in failed.stderr
    assert out.read_text() == "older"
    changed.write_bytes(content)
    fresh("save", "-o", str(out), "me/three:1")
    assert [path.name for path in out.parent.iterdir()] == ["out.tar"]


def test_saving_to_a_full_disk_or_a_closed_pipe_is_an_error(fresh: Rootless, three: Path) -> None:
    fresh("load", "-i", str(three))
    full = fresh("save", "-o", "/dev/full", "me/three:1", check=False)
    assert full.returncode == 125
    assert "No space left" in full.stderr
    saver = fresh.popen("save", "me/three:1")
    assert saver.stdout is not None
    saver.stdout.close()
    assert saver.wait(20) == 141


def test_saving_what_is_not_there_writes_nothing(fresh: Rootless, tmp_path: Path) -> None:
    failed = fresh("save", "-o", str(tmp_path / "out.tar"), "nothing", check=False)
    assert failed.returncode == 125
    assert "nothing: no such image" in failed.stderr
    assert not (tmp_path / "out.tar").exists()


def test_history_and_listing_of_a_loaded_image(fresh: Rootless, three: Path) -> None:
    fresh("load", "-i", str(three))
    assert fresh.out("history", "--format", "{{.CreatedBy}}", "me/three:1").split("\n") == [
        "layer 2",
        "layer 1",
        "layer 0",
    ]
    lines = fresh.out("images").split("\n")
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert lines[1].split()[:2] == ["docker.io/me/three", "1"]
    assert fresh.out("images", "-q", "me/three") == fresh.out("images", "-q", "--filter", "reference=me/*")
    assert io.StringIO(fresh.out("images", "--noheading")).readline().startswith("docker.io/me/three")
