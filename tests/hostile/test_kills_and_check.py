"""SIGKILL at random moments and at each step, then the same again to its end: nothing is lost, nothing is left, and
`system check` is content throughout."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rootless.kernel.idmaps import default_user_map
from rootless.kernel.userns import UserNamespace
from tests.support.archives import members
from tests.support.command import Rootless, wait_until
from tests.support.images import busybox_layer, docker_archive
from tests.support.layers import make_image, random_bytes, tar_of
from tests.support.leaks import entries, processes_of
from tests.support.odd_layer import odd_layer
from tests.support.pulling import OPEN, registry
from tests.support.registry import Registry

__all__ = ["registry"]

KILLS = 10
QUIET = ("--network", "none")
LAYERS = [busybox_layer(), odd_layer(), tar_of({f"srv/{part}": random_bytes(part, 40_000) for part in range(40)})]


@dataclass
class Work:
    """What is killed: `words`, after `prepare`; `holds` is true of a store in which it was done to its end. `steps`
    are those of rootless.faults that it meets."""

    words: tuple[str, ...]
    prepare: Callable[[Rootless], object]
    holds: Callable[[Rootless], object]
    steps: tuple[str, ...] = ()


def assert_sound(rl: Rootless, *words: str) -> None:
    done = rl("system", "check", "--format", "json", *words, check=False)
    assert json.loads(done.stdout)["damage"] == [], done.stderr


def assert_nothing_left(rl: Rootless) -> None:
    rl("image", "prune", "-f")
    assert_sound(rl, "--max", "0s")
    assert [name for name in entries(rl.root / "tmp") if not name.endswith(".partial")] == []
    assert entries(rl.root / "leases") == []


def killed_by_chance(rl: Rootless, work: Work, seed: int) -> None:
    chance = random.Random(seed)
    work.prepare(rl)
    started = time.monotonic()
    rl(*work.words)
    whole = time.monotonic() - started
    assert work.holds(rl)
    for _ in range(KILLS):
        work.prepare(rl)
        process = rl.popen(*work.words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, whole))
        process.kill()
        process.wait()
        settle_and_look(rl)
    work.prepare(rl)
    rl(*work.words)
    assert work.holds(rl)
    assert_nothing_left(rl)


def settle_and_look(rl: Rootless) -> None:
    wait_until(lambda: not processes_of(rl.place), what="the end of the killed command's children")
    assert_sound(rl)  # also that each layer is what its diffID says


def killed_at(rl: Rootless, work: Work, step: str) -> None:
    work.prepare(rl)
    killed = rl(*work.words, check=False, env={"ROOTLESS_TEST_DIE_AT": step})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    settle_and_look(rl)
    work.prepare(rl)
    rl(*work.words)
    assert work.holds(rl)
    assert_nothing_left(rl)


def image_of(rl: Rootless) -> str:
    return rl.out("images", "-q", "--no-trunc", "me/killed:1")


def is_whole(rl: Rootless) -> bool:
    out = rl.place / "whole.tar"
    rl("save", "-q", "-o", str(out), "me/killed:1")
    found = members(out)
    return [found[layer] for layer in json.loads(found["manifest.json"])[0]["Layers"]] == LAYERS


def no_images(rl: Rootless) -> None:
    rl("rmi", "-a", "-f")


def loading(archive: Path) -> Work:
    steps = ("layer-extracted", "layer-stored", "layers-recorded", "layers-settled", "image-written", "image-recorded")
    return Work(("load", "-q", "-i", str(archive)), no_images, is_whole, steps)


def removing(archive: Path) -> Work:
    steps = ("image-forgotten", "garbage-moved", "garbage-recorded", "garbage-to-delete")
    return Work(
        ("rmi", "me/killed:1"),
        lambda rl: rl("load", "-q", "-i", str(archive)),
        lambda rl: not image_of(rl) and not entries(rl.root / "layers"),
        steps,
    )


def committing(archive: Path) -> Work:
    def prepare(rl: Rootless) -> None:
        if not rl.out("ps", "-aq"):
            rl("load", "-q", "-i", str(archive))
            write = "for n in $(seq 200); do echo $n > /srv/new$n; done; rm /was; chown 5 /old; mkfifo /f"
            rl("run", "--name", "c", *QUIET, "me/killed:1", "sh", "-c", write)

    def holds(rl: Rootless) -> bool:
        return rl.out("run", "--rm", *QUIET, "made:1", "sh", "-c", "ls /srv | wc -l; test ! -e /was").split() == ["240"]

    return Work(
        ("commit", "-q", "c", "made:1"),
        prepare,
        holds,
        ("commit-written", "commit-layer", "image-written", "commit-image"),
    )


def pruning(oci: Path) -> Work:
    def prepare(rl: Rootless) -> None:
        rl("load", "-q", "-i", str(oci))
        rl("create", "--name", f"c{os.urandom(4).hex()}", *QUIET, "-v", "/anonymous", "me/killed:1")
        rl("volume", "create", "--ignore", "v")

    def holds(rl: Rootless) -> bool:
        left = [rl.out("ps", "-aq"), rl.out("volume", "ls", "-q"), rl.out("images", "-q")]
        return not any(left) and not entries(rl.root / "layers") and not entries(rl.root / "blobs/sha256")

    steps = (
        "removing",
        "remove-files",
        "garbage-moved",
        "garbage-recorded",
        "garbage-blobs-moved",
        "garbage-to-delete",
    )
    return Work(("system", "prune", "-a", "-f", "--volumes", "--blobs"), prepare, holds, steps)


def releasing(oci: Path) -> Work:
    def prepare(rl: Rootless) -> None:
        no_images(rl)
        rl("load", "-q", "-i", str(oci))

    return Work(
        ("system", "prune", "-f", "--blobs"),
        prepare,
        lambda rl: is_whole(rl) and not entries(rl.root / "blobs/sha256"),
        ("blob-forgotten", "blob-moved"),
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return docker_archive(tmp_path_factory.mktemp("killed") / "killed.tar", LAYERS, names=["docker.io/me/killed:1"])


@pytest.fixture(scope="module")
def oci(archive: Path) -> Path:
    """The same image with compressed layers, whose blobs a store keeps."""
    place = archive.parent / "oci"
    command = ["skopeo", "copy", "-q", f"docker-archive:{archive}", f"oci:{place}:docker.io/me/killed:1"]
    subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(archive.parent)})
    return place


WORKS: dict[str, Callable[[Path, Path], Work]] = {
    "load": lambda archive, oci: loading(archive),
    "rmi": lambda archive, oci: removing(archive),
    "commit": lambda archive, oci: committing(archive),
    "prune": lambda archive, oci: pruning(oci),
    "prune --blobs": lambda archive, oci: releasing(oci),
}
STEPS = [(name, step) for name, work in WORKS.items() for step in work(Path(), Path()).steps]


@pytest.mark.parametrize("name", WORKS)
def test_killed_at_random_moments(fresh: Rootless, archive: Path, oci: Path, name: str) -> None:
    killed_by_chance(fresh, WORKS[name](archive, oci), seed=sorted(WORKS).index(name))


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_killed_at_a_step(fresh: Rootless, archive: Path, oci: Path, name: str, step: str) -> None:
    killed_at(fresh, WORKS[name](archive, oci), step)


def test_a_pull_killed_at_random_moments(fresh: Rootless, registry: Registry) -> None:
    registry.push("me/killed", make_image(LAYERS), "1")
    name = f"{registry.host}/me/killed:1"

    def prepare(rl: Rootless) -> None:
        no_images(rl)

    def holds(rl: Rootless) -> bool:
        rl("tag", name, "me/killed:1")
        return is_whole(rl)

    killed_by_chance(fresh, Work(("pull", "-q", OPEN, name), prepare, holds), seed=20)


def test_a_push_killed_at_random_moments(fresh: Rootless, registry: Registry, archive: Path) -> None:
    def prepare(rl: Rootless) -> None:
        if not image_of(rl):
            rl("load", "-q", "-i", str(archive))

    def holds(rl: Rootless) -> bool:
        return registry.request("GET", "/v2/me/pushed/manifests/1").status == 200

    work = Work(("push", "-q", OPEN, "me/killed:1", f"{registry.host}/me/pushed:1"), prepare, holds)
    killed_by_chance(fresh, work, seed=21)
    assert is_whole(fresh)


STEPS_OF_A_REPAIR = ("layer-extracted-again", "layer-settled-again", "layer-exchanged")


@pytest.mark.parametrize("step", STEPS_OF_A_REPAIR)
def test_a_repair_killed_at_a_step(fresh: Rootless, archive: Path, step: str) -> None:
    fresh("load", "-q", "-i", str(archive))
    namespace = UserNamespace.create(default_user_map())
    digest = fresh.inspect_image("me/killed:1")["RootFS"]["Layers"][1].removeprefix("sha256:")
    namespace.run(os.chmod, f"{fresh.root}/layers/{digest}/diff/fifo", 0o600)
    killed = fresh("system", "check", "--repair", check=False, env={"ROOTLESS_TEST_DIE_AT": step})
    assert killed.returncode == -signal.SIGKILL
    assert (fresh.root / "layers" / digest / "diff").is_dir()
    fresh("system", "check", "--repair")
    settle_and_look(fresh)
    assert is_whole(fresh)
    assert fresh.out("run", "--rm", *QUIET, "me/killed:1", "cat", "/hard-below").startswith("root:")
    assert_nothing_left(fresh)


def test_a_volume_import_killed_at_random_moments(fresh: Rootless, tmp_path: Path) -> None:
    source = tmp_path / "volume.tar"
    source.write_bytes(tar_of({f"file{number}": random_bytes(number, 20_000) for number in range(60)}))

    def prepare(rl: Rootless) -> None:
        rl("volume", "rm", "-a", "-f")
        rl("volume", "create", "v")

    def holds(rl: Rootless) -> bool:
        return len(entries(rl.root / "volumes/v/_data")) == 60

    killed_by_chance(fresh, Work(("volume", "import", "v", str(source)), prepare, holds), seed=22)
