"""`system prune`, `container prune`, and letting go of blobs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.archives import members
from tests.support.command import Rootless
from tests.support.images import NAME, busybox_layer, docker_archive
from tests.support.leaks import entries
from tests.support.pulling import OPEN, registry, small
from tests.support.registry import Registry

__all__ = ["registry"]

QUIET = ("--network", "none")


@pytest.fixture
def loaded(fresh: Rootless, busybox: Path) -> Rootless:
    fresh("load", "-q", "-i", str(busybox))
    return fresh


@pytest.fixture
def compressed(fresh: Rootless, busybox: Path, tmp_path: Path) -> Rootless:
    """A store that keeps the blob of its image's layer."""
    need("skopeo")
    command = ["skopeo", "copy", "-q", f"docker-archive:{busybox}", f"oci:{tmp_path}/oci:{NAME}"]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    fresh("load", "-q", "-i", str(tmp_path / "oci"))
    assert len(entries(fresh.root / "blobs/sha256")) == 1
    return fresh


def test_container_prune_asks_and_takes_what_does_not_run(loaded: Rootless) -> None:
    running = loaded.out("run", "-d", "--name", "busy", *QUIET, NAME, "sleep", "100")
    loaded("run", "--name", "ended", *QUIET, "-v", "/anonymous", NAME, "touch", "/file")
    created = loaded.out("create", "--name", "made", *QUIET, NAME)
    ended = loaded.inspect("ended")["Id"]
    asked = loaded("container", "prune", input="n\n")
    assert asked.stdout == (
        "WARNING! This will remove all non running containers.\nAre you sure you want to continue? [y/N] "
    )
    out = loaded("container", "prune", input="y\n").stdout.partition("[y/N] ")[2]
    assert sorted(out.split()) == sorted([ended, created])
    assert loaded.out("ps", "-aq", "--no-trunc") == running
    assert len(loaded.out("volume", "ls", "-q").split()) == 1, "volumes are another command's"


def test_container_prune_filters(loaded: Rootless) -> None:
    for name, label in (("a", "tier=web"), ("b", "tier=data"), ("c", "other=1")):
        loaded("create", "--name", name, "--label", label, *QUIET, NAME)
    ids = {name: loaded.inspect(name)["Id"] for name in "abc"}
    assert loaded.out("container", "prune", "-f", "--filter", "label=tier=web") == ids["a"]
    assert loaded.out("container", "prune", "-f", "--filter", "label!=tier") == ids["c"]
    assert loaded.out("container", "prune", "-f", "--filter", "until=10m") == ""
    assert loaded.out("container", "prune", "-f", "--filter", "until=0s") == ids["b"]
    refused = loaded("container", "prune", "-f", "--filter", "name=x", check=False)
    assert (refused.returncode, "name=x" in refused.stderr) == (125, True)


def test_system_prune_takes_what_is_not_used_and_says_how_much(loaded: Rootless, tmp_path: Path) -> None:
    other = docker_archive(tmp_path / "other.tar", [busybox_layer()], names=["docker.io/me/used:1"], config={})
    loaded("load", "-q", "-i", str(other))
    loaded("run", "-d", "--name", "busy", *QUIET, "-v", "used:/data", "me/used:1", "/bin/sleep", "100")
    ended = loaded.out("create", "--name", "ended", *QUIET, NAME)
    loaded("volume", "create", "free")
    (loaded.root / "volumes/free/_data/file").write_bytes(b"x" * 1000)
    (loaded.root / "tmp" / ("0" * 64 + ".partial")).write_text("cut")
    asked = loaded("system", "prune", "-a", "--volumes", input="no\n")
    assert asked.stdout.splitlines()[:5] == [
        "WARNING! This command removes:",
        "\t- all stopped containers",
        "\t- all volumes not used by at least one container",
        "\t- all images without at least one container associated with them",
        "\t- all interrupted downloads",
    ]
    assert loaded.inspect("ended")["Id"] == ended
    assert loaded.out("system", "prune", "-f").splitlines() == [
        "Deleted Containers",
        ended,
        "Total reclaimed space: 0B",
    ]
    assert entries(loaded.root / "tmp") == []
    image = loaded.out("images", "-q", "--no-trunc", NAME).removeprefix("sha256:")
    assert loaded.out("system", "prune", "-f", "-a", "--volumes").splitlines() == [
        "Deleted Volumes",
        "free",
        "Deleted Images",
        image,
        "Total reclaimed space: 1kB",
    ]
    assert loaded.out("ps", "-q", "--no-trunc") == loaded.inspect("busy")["Id"]
    assert loaded.out("volume", "ls", "-q") == "used"


def test_a_label_spares_what_has_none(loaded: Rootless) -> None:
    loaded("create", "--name", "a", "--label", "drop=1", *QUIET, NAME)
    loaded("create", "--name", "b", *QUIET, NAME)
    loaded("volume", "create", "--label", "drop=1", "va")
    loaded("volume", "create", "vb")
    loaded("system", "prune", "-f", "-a", "--volumes", "--filter", "label=drop")
    assert loaded.out("ps", "-a", "--format", "{{.Names}}") == "b"
    assert loaded.out("volume", "ls", "-q") == "vb"
    assert loaded.out("images", "-q")


def test_flags_of_podman_that_mean_nothing_here_are_refused(loaded: Rootless) -> None:
    for flag in ("--build", "--external"):
        refused = loaded("system", "prune", "-f", flag, check=False)
        assert refused.returncode == 125
        assert "not supported yet" in refused.stderr


def test_blobs_stay_unless_asked_for_and_layers_do_without(compressed: Rootless, tmp_path: Path) -> None:
    digest = compressed.out("images", "--format", "{{.Digest}}")
    compressed("create", "--name", "c", *QUIET, NAME)
    compressed("system", "prune", "-f", "--volumes", "--filter", "label=none")
    (blob,) = entries(compressed.root / "blobs/sha256")
    size = (compressed.root / "blobs/sha256" / blob).stat().st_size
    out = compressed.out("system", "prune", "-f", "--blobs", "--filter", "label=none").splitlines()
    assert out[:2] == ["Deleted Blobs", blob]
    assert out[2].startswith("Total reclaimed space: ")
    assert size > 100_000
    assert entries(compressed.root / "blobs/sha256") == []
    assert compressed.out("images", "--format", "{{.Digest}}") == digest
    assert compressed.out("run", "--rm", *QUIET, NAME, "echo", "ok") == "ok"
    for format in ("docker-archive", "oci-archive"):
        out_file = tmp_path / format
        compressed("save", "-q", "--format", format, "-o", str(out_file), NAME)
        assert any(content == busybox_layer() for content in members(out_file).values())
    assert compressed.out("system", "check").endswith("all is well")
    blobs = next(k for k in json.loads(compressed.out("system", "df", "--format", "json")) if k["Type"] == "Blobs")
    assert (blobs["Total"], blobs["RawSize"]) == (0, 0)


def test_the_blob_of_a_damaged_layer_stays(compressed: Rootless) -> None:
    (layer,) = entries(compressed.root / "layers")
    path = compressed.root / "layers" / layer / "diff/etc/group"
    path.write_text("damaged")
    done = compressed("system", "prune", "-f", "--blobs", check=False)
    assert done.returncode == 125
    assert layer[:12] in done.stderr
    assert len(entries(compressed.root / "blobs/sha256")) == 1
    assert compressed("system", "check", "--repair").returncode == 0
    assert compressed.out("system", "prune", "-f", "--blobs").startswith("Deleted Blobs\n")


def test_a_blob_that_is_being_read_stays(compressed: Rootless) -> None:
    saver = compressed.popen("save", "--format", "oci-archive", NAME)
    assert saver.stdout is not None
    saver.stdout.read(1)
    assert compressed.out("system", "prune", "-f", "--blobs") == "Total reclaimed space: 0B"
    saver.stdout.read()
    assert saver.wait() == 0
    assert len(entries(compressed.root / "blobs/sha256")) == 1


def test_an_image_without_blobs_is_pulled_and_pushed_as_ever(fresh: Rootless, registry: Registry) -> None:
    image = small(70)
    registry.push("blobs/app", image)
    name = f"{registry.host}/blobs/app"
    fresh("pull", "-q", OPEN, name)
    fresh("system", "prune", "-f", "--blobs")
    assert entries(fresh.root / "blobs/sha256") == []
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert fresh.out("system", "check").endswith("all is well")
    copy = f"{registry.host}/blobs/copy:1"
    fresh("push", "-q", OPEN, name, copy)
    fresh("rmi", "-a", "-f")
    assert fresh.out("pull", "-q", OPEN, copy) == image.id
