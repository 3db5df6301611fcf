"""Images travel between here, podman and skopeo: what one writes the others read, with the same ids and digests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.archives import layer, members
from tests.support.command import Rootless
from tests.support.images import NAME, busybox_layer, docker_archive
from tests.support.podman import Podman, own_podman
from tests.support.pulling import registry as registry
from tests.support.registry import Registry

FORMATS = ("docker-archive", "oci-archive")
CONFIG: dict[str, object] = {
    "User": "1000:1000",
    "ExposedPorts": {"80/tcp": {}},
    "Env": ["PATH=/usr/bin:/bin", "GREETING=hello world"],
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ['echo "$GREETING from $(id -un) in $PWD"; cat /etc/motd /srv/gone 2>&1; true'],
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "Labels": {"maker": "tests"},
    "StopSignal": "SIGINT",
}
PRINTED = "hello world from alice in /srv\nwelcome\ncat: can't open '/srv/gone': No such file or directory"


@pytest.fixture(scope="module")
def one_podman() -> Iterator[Podman]:
    need("podman", "skopeo")
    with own_podman() as made:
        yield made


@pytest.fixture
def podman(one_podman: Podman) -> Iterator[Podman]:
    yield one_podman
    one_podman("rmi", "-a", "-f")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A docker-archive of an image of three layers whose configuration says much."""
    layers = [
        busybox_layer(),
        layer({"etc/motd": b"welcome\n", "srv/gone": b"still here\n"}),
        layer({"srv/.wh.gone": b""}),
    ]
    path = tmp_path_factory.mktemp("described") / "image.tar"
    return docker_archive(path, layers, names=["docker.io/me/described:1"], config=CONFIG)


def skopeo(*args: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *args], capture_output=True, text=True)
    assert done.returncode == 0, f"skopeo {' '.join(args)}: {done.stderr}"
    return done.stdout


def description(image: dict[str, Any]) -> dict[str, Any]:
    """What both inspect commands must say of one image."""
    return {key: image[key] for key in ("Config", "RootFS", "History", "Architecture", "Os", "User")} | {
        "Created": image["Created"].removesuffix("Z").rstrip("0").rstrip(".")
    }


def manifest_in(archive: Path) -> dict[str, Any]:
    """The descriptor of the only manifest in an oci-archive."""
    found: list[dict[str, Any]] = json.loads(members(archive)["index.json"])["manifests"]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("format", FORMATS)
def test_what_podman_saves_is_loaded_and_runs(
    podman: Podman, fresh: Rootless, described: Path, tmp_path: Path, format: str
) -> None:
    podman("load", "-q", "-i", str(described))
    out = tmp_path / "saved.tar"
    podman("save", "-q", "--format", format, "-o", str(out), "me/described:1")
    assert fresh.out("load", "-q", "-i", str(out)) == "Loaded image: docker.io/me/described:1"
    ours, theirs = fresh.inspect_image("me/described:1"), podman.inspect("me/described:1")
    assert description(ours) == description(theirs)
    if format == "docker-archive":
        assert ours["Id"] == theirs["Id"]
    else:  # podman converts the configuration of a Docker image, so the id is that of the archive
        assert ours["Digest"] == manifest_in(out)["digest"]
        assert podman("load", "-q", "-i", str(out)) == "Loaded image: docker.io/me/described:1"
        assert ours["Id"] == podman.inspect("me/described:1")["Id"]
    assert fresh.out("run", "--rm", "--network", "none", "me/described:1") == PRINTED


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_saved_here_podman_loads_as_the_same_image(
    podman: Podman, fresh: Rootless, described: Path, tmp_path: Path, format: str
) -> None:
    fresh("load", "-q", "-i", str(described))
    ours, out = fresh.inspect_image("me/described:1"), tmp_path / "saved.tar"
    fresh("save", "-q", "--format", format, "-o", str(out), "me/described:1")
    assert podman("load", "-q", "-i", str(out)) == "Loaded image: docker.io/me/described:1"
    theirs = podman.inspect("me/described:1")
    assert theirs["Id"] == ours["Id"]
    assert description(theirs) == description(ours)
    if format == "oci-archive":
        assert theirs["Digest"] == manifest_in(out)["digest"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_comes_back_from_podman_unchanged(
    podman: Podman, fresh: Rootless, described: Path, tmp_path: Path, format: str
) -> None:
    """As an OCI image, so that podman has nothing to convert in either format."""
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    skopeo("copy", "-q", f"docker-archive:{described}", f"oci-archive:{first}:docker.io/me/described:1")
    fresh("load", "-q", "-i", str(first))
    before = fresh.inspect_image("me/described:1")
    fresh("save", "-q", "--format", "oci-archive", "-o", str(first), "me/described:1")
    podman("load", "-q", "-i", str(first))
    assert podman.inspect("me/described:1")["Digest"] == before["Digest"]
    podman("save", "-q", "--format", format, "-o", str(second), "me/described:1")
    fresh("rmi", "-f", "-a")
    fresh("load", "-q", "-i", str(second))
    after = fresh.inspect_image("me/described:1")
    assert after["RootFS"] == before["RootFS"]
    assert description(after) == description(before)
    if format == "oci-archive":
        assert after["Id"] == before["Id"]


def test_several_images_of_podman_in_one_archive(
    podman: Podman, fresh: Rootless, busybox: Path, tmp_path: Path
) -> None:
    other = docker_archive(tmp_path / "other.tar", [layer({"one": b"1"})], names=["docker.io/me/other:1"])
    for archive in (busybox, other):
        podman("load", "-q", "-i", str(archive))
    podman("tag", "me/other:1", "localhost/again:2")
    out = tmp_path / "both.tar"
    podman("save", "-q", "-m", "-o", str(out), NAME, "docker.io/me/other:1", "localhost/again:2")
    said = fresh.out("load", "-q", "-i", str(out)).splitlines()
    names = {NAME, "docker.io/me/other:1", "localhost/again:2"}
    assert {name for line in said for name in line.partition(": ")[2].split(", ")} == names
    for name in names:
        assert fresh.inspect_image(name)["Id"] == podman.inspect(name)["Id"]


def test_a_root_file_system_is_imported_alike(podman: Podman, fresh: Rootless, tmp_path: Path) -> None:
    tarball = tmp_path / "rootfs.tar"
    tarball.write_bytes(busybox_layer())
    words = ("--change", "CMD echo imported", "--change", "ENV A=b", "-m", "by hand", str(tarball))
    podman("import", "-q", *words, "localhost/base:1")
    fresh("import", "-q", *words, "localhost/base:1")
    ours, theirs = fresh.inspect_image("localhost/base:1"), podman.inspect("localhost/base:1")
    assert ours["RootFS"] == theirs["RootFS"]
    assert ours["Config"] == theirs["Config"]
    out = tmp_path / "podman.tar"
    podman("save", "-q", "-o", str(out), "localhost/base:1")
    fresh("load", "-q", "-i", str(out))
    assert fresh.out("run", "--rm", "--network", "none", "localhost/base:1") == "imported"


@pytest.mark.parametrize("format", FORMATS)
def test_an_image_comes_back_from_a_registry_with_equal_digests(
    fresh: Rootless, registry: Registry, described: Path, tmp_path: Path, format: str
) -> None:
    need("skopeo")
    fresh("load", "-q", "-i", str(described))
    before, out = fresh.inspect_image("me/described:1"), tmp_path / "saved.tar"
    fresh("save", "-q", "--format", format, "-o", str(out), "me/described:1")
    name = f"{registry.host}/interop/{format}:1"
    skopeo("copy", "-q", "--preserve-digests", "--dest-tls-verify=false", f"{format}:{out}", f"docker://{name}")
    there = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    if format == "oci-archive":
        assert there["Digest"] == manifest_in(out)["digest"]
    fresh("rmi", "-f", "-a")
    assert fresh.out("pull", "-q", "--tls-verify=false", name) == before["Id"]
    after = fresh.inspect_image(name)
    assert after["Digest"] == there["Digest"]
    assert after["RootFS"] == before["RootFS"]
    back = tmp_path / "back.tar"
    skopeo("copy", "-q", "--preserve-digests", "--src-tls-verify=false", f"docker://{name}", f"{format}:{back}:x/y:1")
    fresh("rmi", "-f", "-a")
    fresh("load", "-q", "-i", str(back))
    assert fresh.inspect_image("x/y:1")["Id"] == before["Id"]
    assert fresh.out("run", "--rm", "--network", "none", "x/y:1") == PRINTED
