"""SIGKILL at any moment, and many at once: the store stays usable, nothing is damaged, nothing is left for good."""

from __future__ import annotations

import json
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.archives import layer, members
from tests.support.command import Rootless, wait_until
from tests.support.images import docker_archive
from tests.support.leaks import entries, processes_of

NAME = "docker.io/me/many:1"
LAYERS = [layer({f"srv/{number}/{part}": bytes([number]) * 50_000 for part in range(40)}) for number in range(6)]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return docker_archive(tmp_path / "many.tar", LAYERS, names=[NAME])


def assert_whole(rl: Rootless, place: Path, name: str = NAME) -> None:
    """The image gives back every byte of its layers."""
    out = place / "check.tar"
    rl("save", "-o", str(out), name)
    found = members(out)
    assert [found[layer] for layer in json.loads(found["manifest.json"])[0]["Layers"]] == LAYERS


def assert_empty(rl: Rootless) -> None:
    rl("rmi", "-a", "-f")
    left = {name: entries(rl.root / name) for name in ("layers", "blobs/sha256", "leases")}
    left["tmp"] = [name for name in entries(rl.root / "tmp") if not name.endswith(".partial")]
    assert not any(left.values()), left


def kill_after(seconds: float, process: subprocess.Popen[bytes], rl: Rootless) -> None:
    time.sleep(seconds)
    process.kill()
    process.wait()
    wait_until(lambda: not processes_of(rl.place), what="the end of the killed command's children")


def test_load_killed_at_random_moments(fresh: Rootless, many: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    started = time.monotonic()
    fresh("load", "-i", str(many))
    whole = time.monotonic() - started
    fresh("rmi", NAME)
    for _ in range(12):
        kill_after(chance.uniform(0, whole), fresh.popen("load", "-i", str(many)), fresh)
        listed = fresh.out("images", "-q", "--no-trunc")
        if listed:
            assert_whole(fresh, tmp_path)
            fresh("rmi", NAME)
    assert fresh.out("load", "-i", str(many)) == f"Loaded image: {NAME}"
    assert_whole(fresh, tmp_path)
    assert_empty(fresh)


def test_rmi_killed_at_random_moments(fresh: Rootless, many: Path, tmp_path: Path) -> None:
    chance = random.Random(2)
    for _ in range(12):
        fresh("load", "-i", str(many))
        kill_after(chance.uniform(0, 0.12), fresh.popen("rmi", NAME), fresh)
        if fresh.out("images", "-q"):
            assert_whole(fresh, tmp_path)
    fresh("load", "-i", str(many))
    assert_whole(fresh, tmp_path)
    assert_empty(fresh)


def test_what_a_killed_load_had_extracted_is_not_extracted_again(fresh: Rootless, many: Path) -> None:
    loader = fresh.popen("load", "-i", str(many))
    wait_until(lambda: entries(fresh.root / "layers"), what="the first layer")
    kill_after(0.02, loader, fresh)
    before = {name: (fresh.root / "layers" / name).stat().st_ino for name in entries(fresh.root / "layers")}
    fresh("load", "-i", str(many))
    after = {name: (fresh.root / "layers" / name).stat().st_ino for name in entries(fresh.root / "layers")}
    assert len(after) == len(LAYERS)
    assert sum(after[name] == inode for name, inode in before.items()) >= len(before) - 1


def test_loads_removals_and_prunes_at_once(fresh: Rootless, many: Path, tmp_path: Path) -> None:
    """Whoever reports success has a whole image, whatever the collectors beside it did."""
    tags = [f"docker.io/me/many:{number}" for number in range(4)]
    archives = [docker_archive(tmp_path / f"{number}.tar", LAYERS, names=[tag]) for number, tag in enumerate(tags)]

    def worker(number: int) -> None:
        for _ in range(4):
            fresh("load", "-i", str(archives[number]))
            assert_whole(fresh, make(tmp_path / f"place{number}"), tags[number])
            fresh("rmi", tags[number])

    def pruner(number: int) -> None:
        for _ in range(12):
            fresh("image", "prune", "-f")

    with ThreadPoolExecutor(6) as pool:
        results = [pool.submit(worker, number) for number in range(4)] + [pool.submit(pruner, n) for n in range(2)]
        for result in results:
            result.result(120)
    assert_empty(fresh)


def make(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_a_layer_that_is_being_added_is_not_collected(fresh: Rootless, many: Path) -> None:
    """A load that waits for its standard input holds its lease; what it has extracted so far stays."""
    fresh("load", "-i", str(many))
    saver = fresh.popen("save", NAME)
    assert saver.stdout is not None
    saver.stdout.read(1)  # it has begun, and waits for a reader
    fresh("rmi", NAME)
    assert len(entries(fresh.root / "layers")) == len(LAYERS)
    rest = saver.stdout.read()
    assert saver.wait() == 0
    assert len(rest) > sum(map(len, LAYERS))
    fresh("image", "prune", "-f")
    assert entries(fresh.root / "layers") == []


def test_a_store_whose_database_is_damaged_says_so_and_touches_nothing(fresh: Rootless, many: Path) -> None:
    fresh("load", "-i", str(many))
    database = fresh.root / "db.sqlite"
    for name in entries(fresh.root):
        if name.startswith("db.sqlite-"):
            (fresh.root / name).unlink()
    database.write_bytes(b"SQLite format 3\0" + b"garbage " * 4000)
    content = database.read_bytes()
    for command in (["images"], ["load", "-i", str(many)], ["rmi", "-a"], ["image", "prune", "-f"]):
        failed = fresh(*command, check=False)
        assert failed.returncode == 125
        assert "db.sqlite" in failed.stderr
        assert "internal error" not in failed.stderr
    assert database.read_bytes() == content
    assert len(entries(fresh.root / "layers")) == len(LAYERS)
