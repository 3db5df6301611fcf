"""SIGKILL of a pull at each of its stages, then the pull again: nothing is lost, nothing is left."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.faulty import Faulty, Request, send
from tests.support.layers import PackedImage, index_of
from tests.support.leaks import entries, processes_of
from tests.support.pulling import OPEN, big, faulty, files_of, registry, stored
from tests.support.registry import Registry

__all__ = ["faulty", "registry"]

# In the order in which a pull meets them (rootless.faults).
STEPS = (
    "blob-stored",
    "layer-extracted",
    "layer-stored",
    "layers-recorded",
    "layers-settled",
    "image-written",
    "image-recorded",
)


@pytest.fixture(scope="module")
def image(registry: Registry) -> PackedImage:
    made = big(9000, layers=3, size=1 << 20)
    registry.push("stages/app", made, "part")
    index = index_of({"linux/amd64": made.manifest, "linux/arm64": made.manifest})
    registry.push_manifest("stages/app", "1", index.data, index.media_type)
    return made


def assert_nothing_is_lost_or_left(fresh: Rootless, name: str, image: PackedImage) -> None:
    wait_until(lambda: not processes_of(fresh.place), what="the end of the killed command's children")
    assert fresh.out("images", "-q", "--no-trunc") in ("", f"sha256:{image.id}")
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert sorted(files_of(fresh, *image.diff_ids)) == ["random-0", "random-1", "random-2"]
    assert stored(fresh) == {
        "layers": sorted(image.diff_ids),
        "blobs": sorted(layer.hex for layer in image.layers),
        "tmp": [],
    }
    fresh("rmi", name)
    assert [entries(fresh.root / place) for place in ("layers", "blobs/sha256", "leases", "tmp")] == [[]] * 4


@pytest.mark.parametrize("step", STEPS)
def test_a_pull_killed_at_a_step(fresh: Rootless, registry: Registry, image: PackedImage, step: str) -> None:
    name = f"{registry.host}/stages/app:1"
    killed = fresh("pull", "-q", OPEN, name, env={"ROOTLESS_TEST_DIE_AT": step}, check=False)
    assert killed.returncode == -signal.SIGKILL
    listed = fresh.out("images", "-q", "--no-trunc")
    assert listed == (f"sha256:{image.id}" if step == "image-recorded" else "")
    assert_nothing_is_lost_or_left(fresh, name, image)


Asked = Callable[[PackedImage], str]
REQUESTS: dict[str, Asked] = {
    "first contact": lambda image: "/v2/$",
    "index": lambda image: "/manifests/1$",
    "manifest": lambda image: "/manifests/" + image.manifest.digest,
    "configuration": lambda image: "/blobs/" + image.config.digest,
    "first layer": lambda image: "/blobs/" + image.layers[0].digest,
    "last layer": lambda image: "/blobs/" + image.layers[2].digest,
}


@pytest.mark.parametrize("stage", REQUESTS)
def test_a_pull_killed_while_it_waits_for_an_answer(
    fresh: Rootless, faulty: Faulty, image: PackedImage, stage: str
) -> None:
    name = f"{faulty.host}/stages/app:1"
    processes: list[subprocess.Popen[bytes]] = []
    faulty.rule(REQUESTS[stage](image), lambda handler, request: processes[0].kill())
    processes.append(fresh.popen("pull", "-q", OPEN, name))
    processes[0].communicate(timeout=30)
    assert processes[0].returncode == -signal.SIGKILL
    assert_nothing_is_lost_or_left(fresh, name, image)


def test_a_pull_killed_again_and_again_in_the_middle_of_a_layer(
    fresh: Rootless, faulty: Faulty, image: PackedImage
) -> None:
    name = f"{faulty.host}/stages/app:1"
    processes: list[subprocess.Popen[bytes]] = []

    def half(handler: BaseHTTPRequestHandler, request: Request) -> None:
        found = faulty.fetch(request)
        send(handler, found.status, found.data[: len(found.data) // 2], dict(found.headers))
        handler.wfile.flush()
        wait_until(lambda: any(path.stat().st_size for path in (fresh.root / "tmp").glob("*.partial")))
        processes[-1].kill()

    layers = "/blobs/(" + "|".join(layer.digest for layer in image.layers) + ")"
    for _ in range(8):  # each goes on where the one before was; the layers beside it may be whole by then
        faulty.rules.clear()
        faulty.rule(layers, half)
        processes.append(fresh.popen("pull", "-q", OPEN, name))
        processes[-1].communicate(timeout=30)
        if not faulty.rules[0].times:
            assert processes[-1].returncode == -signal.SIGKILL
    assert processes[0].returncode == -signal.SIGKILL
    faulty.rules.clear()
    assert_nothing_is_lost_or_left(fresh, name, image)
