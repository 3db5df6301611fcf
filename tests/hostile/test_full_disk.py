"""A disk that fills up while an image comes in: a small file system of our own, in a mount namespace of ours."""

from __future__ import annotations

import gzip
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.command import executable
from tests.support.images import docker_archive
from tests.support.layers import Packed, PackedImage, make_image, manifest_of, random_bytes, tar_of
from tests.support.pulling import OPEN, registry
from tests.support.registry import Registry

__all__ = ["registry"]

MEGABYTE = 1 << 20


class Small:
    """`rootless` as root of a namespace whose store lies on a file system of so many megabytes. The namespace lives
    as long as the shell that holds it."""

    def __init__(self, place: Path, megabytes: int) -> None:
        self.place = place
        store = place / "small"
        store.mkdir()
        self.shell = subprocess.Popen(
            ["unshare", "-Um", "--map-root-user", "--map-auto", "sh", "-s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(store / "home"),
                "LANG": "C.UTF-8",
                "XDG_RUNTIME_DIR": str(store / "run"),
                "ROOTLESS_ROOT": str(store / "root"),
                "ROOTLESS_RUNROOT": str(store / "run/rootless"),
            },
        )
        made = self(f"mount -t tmpfs -o size={megabytes}m small {store} && mkdir -p {store}/home {store}/run")
        assert made == (0, ""), made

    def __call__(self, line: str) -> tuple[int, str]:
        """Exit code and output of a line of shell."""
        assert self.shell.stdin
        assert self.shell.stdout
        self.shell.stdin.write(line + '\necho "\n=== $?"\n')
        self.shell.stdin.flush()
        said = ""
        for text in self.shell.stdout:
            if text.startswith("=== "):
                return int(text[4:]), said.removesuffix("\n")
            said += text
        raise AssertionError(f"the shell has ended: {said}")

    def rootless(self, *words: str) -> tuple[int, str]:
        return self(" ".join([executable(), *words]) + " </dev/null")

    def used(self) -> int:
        """Bytes of the file system that are not free."""
        return int(self(f"df -B1 --output=used {self.place}/small | tail -1")[1])

    def left(self) -> list[str]:
        """What lies in the store's tmp, and its layers and blobs."""
        root = f"{self.place}/small/root"
        return self(f"ls {root}/layers {root}/blobs/sha256 {root}/tmp 2>/dev/null | grep -v :$")[1].split()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    need("unshare")
    made = Small(tmp_path, 128)  # extraction leaves 64 MB free
    yield made
    made.shell.communicate("exit\n", timeout=10)


def assert_told(done: tuple[int, str]) -> None:
    code, said = done
    assert code == 125, said
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert "internal error" not in said


def test_a_pull_onto_a_full_disk_is_told_and_leaves_the_store_usable(small: Small, registry: Registry) -> None:
    tars = [tar_of({"a": random_bytes(1, 9 * MEGABYTE)}), tar_of({"b": bytes(140 * MEGABYTE)})]
    big = make_image(tars, ["gzip", "none"])
    fits = make_image([tar_of({"c": random_bytes(3, 2 * MEGABYTE)})])
    name, other = registry.push("full/big", big), registry.push("full/fits", fits)
    assert_told(small.rootless("pull", OPEN, "--retry-delay=1ms", name))
    assert small.rootless("images", "-q") == (0, "")
    # what a next pull would take up is let go when it is asked for
    assert small.rootless("image", "prune", "-f")[0] == 0
    assert small.left() == []
    assert small.used() < 4 * MEGABYTE
    code, said = small.rootless("pull", "-q", OPEN, other)
    assert (code, said.splitlines()[-1]) == (0, fits.id), said


def bomb() -> bytes:
    """A gzip stream of a few hundred kilobytes that is a tar with a file of 100 MB."""
    info = tarfile.TarInfo("zeros")
    info.size = 100 * MEGABYTE
    data = info.tobuf(tarfile.GNU_FORMAT) + bytes(info.size) + bytes(1024)
    return gzip.compress(data, 1, mtime=0)


def test_a_gzip_bomb_in_a_registry_fills_the_disk_and_goes_again(small: Small, registry: Registry) -> None:
    import hashlib

    blob = bomb()
    assert len(blob) < 1 * MEGABYTE
    honest = make_image([tar_of({"a": b"1"})])
    diff_id = hashlib.sha256(gzip.decompress(blob)).hexdigest()
    config = Packed(honest.config.data.replace(honest.diff_ids[0].encode(), diff_id.encode()), honest.config.media_type)
    layer = Packed(blob, honest.layers[0].media_type)
    name = registry.push("full/bomb", PackedImage(manifest_of(config, (layer,)), config, (layer,), (diff_id,)))
    assert_told(small.rootless("pull", OPEN, name))
    assert small.rootless("images", "-q") == (0, "")
    assert small.rootless("image", "prune", "-f")[0] == 0
    assert small.left() == []
    assert small.used() < 4 * MEGABYTE


def test_a_load_onto_a_full_disk_is_told_and_leaves_nothing(small: Small, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "big.tar", [tar_of({"a": bytes(140 * MEGABYTE)})], names=["docker.io/me/big:1"])
    assert_told(small.rootless("load", "-i", str(path)))
    assert small.rootless("images", "-q") == (0, "")
    assert small.left() == []
    assert small.used() < 4 * MEGABYTE
