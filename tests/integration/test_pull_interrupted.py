"""Pulls that are cut, killed, interrupted, or that meet others."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.faulty import Faulty, cut, dribble, ignore_range
from tests.support.layers import random_bytes, tar_of
from tests.support.pulling import LINES, OPEN, big, faulty, files_of, registry, small, stored
from tests.support.registry import Registry

__all__ = ["faulty", "registry"]


def test_a_cut_connection_is_resumed_where_it_ended(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = big(100)
    registry.push("cuts/app", image)
    faulty.rule("/blobs/" + image.layers[0].digest, cut(faulty, 1_000_000), times=2)
    assert fresh.out("pull", "-q", OPEN, "--retry-delay", "10ms", f"{faulty.host}/cuts/app") == image.id
    ranges = [request.headers.get("range") for request in faulty.paths(image.layers[0].digest)]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"]


def test_a_server_without_ranges_is_read_again_from_the_start(
    fresh: Rootless, registry: Registry, faulty: Faulty
) -> None:
    image = big(200)
    registry.push("norange/app", image)
    faulty.rule("/blobs/" + image.layers[0].digest, cut(faulty, 1_000_000))
    faulty.rule("/blobs/" + image.layers[0].digest, ignore_range(faulty))
    assert fresh.out("pull", "-q", OPEN, "--retry-delay", "10ms", f"{faulty.host}/norange/app") == image.id
    assert files_of(fresh, *image.diff_ids)["random-0"] == random_bytes(200, 3 << 20)


def partial_size(command: Rootless) -> int:
    return sum(path.stat().st_size for path in (command.root / "tmp").glob("*.partial"))


def drop_partials(command: Rootless) -> None:
    """What the next pull would take up is left on purpose."""
    for left in (command.root / "tmp").glob("*.partial"):
        left.unlink()


def test_a_killed_pull_is_taken_up_by_the_next(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = big(300)
    registry.push("killed/app", image)
    name = f"{faulty.host}/killed/app"
    faulty.rule("/blobs/" + image.layers[0].digest, dribble(faulty, 0.01, 50_000))
    process = fresh.popen("pull", OPEN, name)
    wait_until(lambda: partial_size(fresh) > 500_000)
    process.kill()
    process.communicate()
    assert fresh.out("images", "-q") == ""
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert (faulty.paths(image.layers[0].digest)[1].headers["range"]).startswith("bytes=")
    assert files_of(fresh, *image.diff_ids)["random-0"] == random_bytes(300, 3 << 20)
    assert stored(fresh)["tmp"] == []


def test_what_a_power_cut_spoilt_is_fetched_anew(fresh: Rootless, registry: Registry) -> None:
    image = big(400)
    name = registry.push("spoilt/app", image)
    fresh("images")
    part = fresh.root / "tmp" / f"{image.layers[0].hex}.partial"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"\0" * 1_000_000)
    done = fresh("pull", "-q", OPEN, name)
    assert done.stdout.strip() == image.id
    assert stored(fresh)["tmp"] == []


@pytest.mark.parametrize("moment", range(6))
def test_a_pull_killed_at_any_moment_leaves_a_store_that_works(
    fresh: Rootless, registry: Registry, moment: int
) -> None:
    image = big(500, layers=3, size=1 << 20)
    name = registry.push("moments/app", image)
    process = fresh.popen("pull", OPEN, name)
    try:
        process.wait(0.06 + 0.03 * moment)
    except subprocess.TimeoutExpired:
        pass
    process.kill()
    process.communicate()
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert sorted(files_of(fresh, *image.diff_ids)) == ["random-0", "random-1", "random-2"]
    assert stored(fresh)["tmp"] == []


def test_two_pulls_of_one_image_at_once_both_succeed(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = big(600, layers=3, size=1 << 20)
    registry.push("twice/app", image)
    name = f"{faulty.host}/twice/app"
    for layer in image.layers:
        faulty.rule(layer.digest, dribble(faulty, 0.01, 100_000), times=2)
    processes = [fresh.popen("pull", "-q", OPEN, name) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        assert out.decode().strip() == image.id
    assert stored(fresh)["tmp"] == []
    assert stored(fresh)["layers"] == sorted(image.diff_ids)


def test_ctrl_c_ends_a_pull_at_once_and_leaves_no_process(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = big(700)
    registry.push("interrupted/app", image)
    faulty.rule(image.layers[0].digest, dribble(faulty, 0.5, 10_000))
    process = fresh.popen("pull", OPEN, f"{faulty.host}/interrupted/app")
    wait_until(lambda: partial_size(fresh) > 0)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    _, err = process.communicate()
    assert b"Traceback" not in err
    drop_partials(fresh)


def test_ctrl_c_does_not_wait_for_a_silent_registry(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    image = small(750)
    registry.push("silent/app", image)
    faulty.rule(image.layers[0].digest, lambda handler, request: time.sleep(15))
    process = fresh.popen("pull", "-q", OPEN, f"{faulty.host}/silent/app")
    wait_until(lambda: faulty.paths(image.layers[0].digest))
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    process.communicate()
    drop_partials(fresh)


def test_pulling_while_the_image_is_removed_leaves_a_whole_image_or_none(fresh: Rootless, registry: Registry) -> None:
    image = small(760, layers=4)
    name = registry.push("races/app", image)
    for _ in range(6):
        pulls = [fresh.popen("pull", "-q", OPEN, name) for _ in range(2)]
        while any(process.poll() is None for process in pulls):
            fresh("rmi", "-f", name, check=False)
        for process in pulls:
            _, err = process.communicate()
            assert process.returncode == 0, err.decode()
    assert fresh.out("pull", "-q", OPEN, name) == image.id
    assert len(files_of(fresh, *image.diff_ids)) == 4 + len(LINES)
    assert stored(fresh)["tmp"] == []


def interrupted(fresh: Rootless, registry: Registry, faulty: Faulty, seed: int) -> str:
    """The name of an image of which half a layer is here."""
    image = big(seed)
    registry.push("half/app", image)
    faulty.rule("/blobs/" + image.layers[0].digest, dribble(faulty, 0.01, 50_000))
    process = fresh.popen("pull", OPEN, f"{faulty.host}/half/app")
    wait_until(lambda: partial_size(fresh) > 500_000)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert partial_size(fresh) > 500_000
    return f"{registry.host}/half/app"


def test_half_a_layer_goes_when_the_layer_comes_in_another_way(
    fresh: Rootless, registry: Registry, faulty: Faulty, tmp_path: Path
) -> None:
    name = interrupted(fresh, registry, faulty, 700)
    tar = tmp_path / "layer.tar"
    tar.write_bytes(tar_of({"random-0": random_bytes(700, 3 << 20)}))
    fresh("import", "-q", str(tar))
    fresh("pull", "-q", OPEN, name)
    assert stored(fresh)["tmp"] == []


@pytest.mark.parametrize("words", [("image", "prune", "-f"), ("rmi", "-a")], ids=" ".join)
def test_half_a_layer_goes_with_all_that_is_not_needed(
    fresh: Rootless, registry: Registry, faulty: Faulty, words: tuple[str, ...]
) -> None:
    interrupted(fresh, registry, faulty, 800)
    fresh(*words)
    assert stored(fresh)["tmp"] == []
