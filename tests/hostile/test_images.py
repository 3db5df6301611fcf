"""Images that are odd, huge or wrong in themselves, run and pulled: HOSTILE.md 4, 8 and 9."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from storage.documents.manifests import OCI_INDEX
from tests.support.archives import layer
from tests.support.command import Rootless
from tests.support.faulty import Faulty, answer
from tests.support.images import busybox_layer, docker_archive
from tests.support.layers import index_of, make_image, tar_of
from tests.support.pulling import OPEN, faulty, registry, small, stored
from tests.support.registry import Registry

__all__ = ["faulty", "registry"]

QUICK = "--retry-delay=1ms"


def load(command: Rootless, place: Path, layers: list[bytes], **config: object) -> str:
    path = docker_archive(place / "odd.tar", layers, names=["docker.io/me/odd:1"], config=config or None)
    command("load", "-q", "-i", str(path))
    return "me/odd:1"


# 4


def test_whiteouts_of_all_kinds_in_a_running_container(each_driver: Rootless, tmp_path: Path) -> None:
    low = layer({"below/x": b"1", "gone/x": b"1", "both": b"1"})
    # the root is opaque: all below is gone; a whiteout of nothing; a whiteout and a file of one name
    own = tar_of({".wh..wh..opq": b"", "etc/.wh.never-was": b"", ".wh.both": b"", "both": b"2", "here": b"3"})
    image = load(each_driver, tmp_path, [low, _join(busybox_layer(), own)])
    out = each_driver.out(
        "run", "--rm", "--network", "none", image, "sh", "-c", "ls -a / /etc; echo $(cat /both /here)"
    )
    words = out.split()
    assert "23" in words
    assert not {"below", "gone", "never-was"} & set(words)
    assert not [word for word in words if word.startswith(".wh.")]


def _join(*tars: bytes) -> bytes:
    """One tar of the entries of several."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as target:
        for data in tars:
            with tarfile.open(fileobj=io.BytesIO(data)) as source:
                for member in source:
                    target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return out.getvalue()


# 8


def test_an_image_of_127_layers_is_pulled_and_run(fresh: Rootless, registry: Registry) -> None:
    image = make_image([busybox_layer(), *(layer({f"srv/{number}": b""}) for number in range(126))])
    name = registry.push("many/layers", image)
    fresh("pull", "-q", OPEN, name, timeout=120)
    for driver in ("overlay", "fuse-overlayfs"):
        assert count_of_files(fresh, name, driver) == 126


def count_of_files(command: Rootless, image: str, driver: str) -> int:
    words = ("run", "--rm", "--network", "none", image, "sh", "-c", "ls /srv | wc -l")
    return int(command.out(*words, env={"ROOTLESS_STORAGE_DRIVER": driver}, timeout=120))


def test_overlay_stacks_500_layers_and_one_more_is_told_with_what_helps(fresh: Rootless, tmp_path: Path) -> None:
    layers = [busybox_layer(), *(layer({f"srv/{number}": b""}) for number in range(500))]
    load(fresh, tmp_path, layers[:500])
    assert count_of_files(fresh, "me/odd:1", "overlay") == 499
    load(fresh, tmp_path, layers)
    failed = fresh("run", "--rm", "--network", "none", "me/odd:1", "true", check=False)
    assert failed.returncode == 125
    assert "overlay stacks 500 at most" in failed.stderr
    assert "use the driver vfs" in failed.stderr
    assert count_of_files(fresh, "me/odd:1", "vfs") == 500


def refused(command: Rootless, name: str) -> str:
    """Pull what must fail; nothing is left."""
    failed = command("pull", OPEN, QUICK, name, check=False)
    assert failed.returncode == 125
    assert "Traceback" not in failed.stderr
    assert "internal error" not in failed.stderr
    assert command.out("images", "-q") == ""
    assert not any(stored(command).values())
    return failed.stderr


def test_a_manifest_of_fifty_megabytes_is_refused_after_the_first_four(fresh: Rootless, faulty: Faulty) -> None:
    data = json.dumps({"schemaVersion": 2, "annotations": {"x": "y" * (50 << 20)}}).encode()
    faulty.rule("/manifests/", answer(200, data, content_type="application/vnd.oci.image.manifest.v1+json"), times=-1)
    assert "longer than 4194304 bytes" in refused(fresh, f"{faulty.host}/x/app")


def test_an_index_that_refers_to_itself_is_refused(fresh: Rootless, faulty: Faulty) -> None:
    """A digest cannot be inside of what it is of: a server can only lie, which is noticed at the first step."""
    small_index = index_of({"linux/amd64": small().manifest, "linux/arm64": small().manifest})
    entry = {"mediaType": OCI_INDEX, "digest": small_index.digest, "size": len(small_index.data)}
    itself = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    faulty.rule("/manifests/", answer(200, itself, content_type=OCI_INDEX), times=-1)
    assert f"asked for {small_index.digest} and has sent" in refused(fresh, f"{faulty.host}/x/app")
    assert len(faulty.paths("/manifests/")) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda found: found.update(mediaType="application/vnd.example.thing.v1+json"), "not a kind of manifest"),
        (lambda found: found["config"].update(mediaType="application/vnd.example.config"), "not a container image"),
        (lambda found: found["layers"][0].update(mediaType="application/x-rar"), "of an unknown kind"),
        (lambda found: found["layers"][0].update(size=7), "in the manifest"),
        (lambda found: found["config"].update(size=1), "bytes, and 1 in the manifest"),
    ],
    ids=["manifest", "config", "layer", "layer size", "config size"],
)
def test_media_types_and_sizes_that_are_wrong(fresh: Rootless, faulty: Faulty, change: Any, why: str) -> None:
    image = small(1, layers=1)
    found = json.loads(image.manifest.data)
    change(found)
    faulty.rule(
        "/manifests/", answer(200, json.dumps(found).encode(), content_type=image.manifest.media_type), times=-1
    )
    for blob in (image.config, *image.layers):
        faulty.rule(blob.digest, answer(200, blob.data), times=-1)
    assert why in refused(fresh, f"{faulty.host}/x/app")


def test_a_layer_that_occurs_five_times_is_fetched_once_and_runs(
    fresh: Rootless, registry: Registry, faulty: Faulty
) -> None:
    """With a layer in between that takes away what it brings, and one that replaces it."""
    same, gone, other = tar_of({"srv/x": b"same\n"}), tar_of({"srv/.wh.x": b""}), tar_of({"srv/x": b"other\n"})
    image = make_image([busybox_layer(), same, gone, same, other, same, same, same], Cmd=["cat", "/srv/x"])
    registry.push("twice/app", image)
    name = f"{faulty.host}/twice/app"
    for driver in ("overlay", "fuse-overlayfs", "vfs"):
        env = {"ROOTLESS_STORAGE_DRIVER": driver}
        assert fresh.out("run", "--rm", "-q", "--network", "none", OPEN, name, env=env) == "same"
    assert len(faulty.paths(image.layers[1].digest)) == 1


# 9


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ({"Cmd": ["pwd"], "Env": None, "Entrypoint": None, "Labels": None, "User": None, "WorkingDir": None}, 0, "/"),
        ({"Cmd": ["pwd"], "WorkingDir": "../.."}, 0, "/"),
        ({"Cmd": ["sh", "-c", "pwd; cd ..; pwd"], "WorkingDir": "/srv/../../../.."}, 0, "/\n/"),
        ({"Cmd": ["true"], "User": "99999999999"}, 125, "99999999999"),
        ({"Cmd": ["true"], "User": "root:nogroup-here"}, 125, "nogroup-here"),
        ({"Cmd": ["true"], "User": "nobody-here"}, 125, "nobody-here"),
        ({"Cmd": ["sh", "-c", "env | grep ALONE"], "Env": ["PATH=/bin", "ALONE"]}, 0, "ALONE=\n"),
        ({"Cmd": []}, 125, "command"),
        ({"Cmd": [""]}, 125, "the command is empty"),
        ({"Cmd": ["sh", "-c", "grep -c ' /x ' /proc/mounts"], "Volumes": {"../../x": {}}}, 0, "1\n"),
        ({"Cmd": ["echo", "fine"], "ExposedPorts": {"nonsense/tcp": {}}}, 0, "fine\n"),
        ({"Cmd": ["true"], "StopSignal": "SIGNONSENSE"}, 125, "SIGNONSENSE"),
    ],
)
def test_configurations_that_make_no_sense_end_in_a_clear_error_or_run_safely(
    fresh: Rootless, tmp_path: Path, config: dict[str, object], code: int, said: str
) -> None:
    image = load(fresh, tmp_path, [busybox_layer()], **config)
    done = fresh("run", "--rm", "--network", "none", image, check=False)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.returncode == code, done.stderr
    assert said in (done.stdout if code == 0 else done.stderr)
    assert fresh.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"Entrypoint": "/bin/sh"}, "config.Entrypoint is not a list of strings"),
        ({"Cmd": {"a": 1}}, "config.Cmd is not a list of strings"),
        ({"Env": ["A\0B=1"]}, "config.Env has a NUL"),
        ({"User": 7}, "User is not a string"),
    ],
)
def test_configurations_of_the_wrong_type_are_refused_on_the_way_in(
    fresh: Rootless, registry: Registry, tmp_path: Path, config: dict[str, Any], why: str
) -> None:
    path = docker_archive(tmp_path / "odd.tar", [tar_of({"a": b"1"})], names=["docker.io/me/odd:1"], config=config)
    failed = fresh("load", "-i", str(path), check=False)
    assert (failed.returncode, why in failed.stderr) == (125, True)
    name = registry.push("odd/app", make_image([tar_of({"a": b"1"})], **config))
    assert why in refused(fresh, name)
