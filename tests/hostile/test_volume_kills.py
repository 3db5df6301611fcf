"""SIGKILL while a volume is made: what is left is never taken for the files of another volume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.support.command import Rootless
from tests.support.images import NAME as BUSYBOX

KILLED = -9
NONE = ("--network", "none")


@pytest.fixture
def half_made(rl: Rootless) -> Iterator[tuple[Rootless, str]]:
    """A store in which `volume create` was killed after its directory got its place, before its row was written."""
    name = "half" + os.urandom(4).hex()
    command = ("volume", "create", "--driver", "image", "--opt", f"image={BUSYBOX}", name)
    done = rl(*command, check=False, env={"ROOTLESS_TEST_DIE_AT": "volume-made"})
    assert done.returncode == KILLED
    assert rl("volume", "exists", name, check=False).returncode == 1
    assert (rl.root / "volumes" / name / "_data/bin").is_dir()
    yield rl, name
    rl("rm", "-f", name, check=False)
    rl("volume", "rm", name, check=False)
    rl("image", "prune", "-f")


def data(rl: Rootless, name: str) -> list[str]:
    return sorted(os.listdir(rl.root / "volumes" / name / "_data"))


def test_a_plain_volume_of_the_name_is_empty(half_made: tuple[Rootless, str]) -> None:
    rl, name = half_made
    rl("volume", "create", name)
    assert data(rl, name) == []


def test_a_container_gets_an_empty_volume(half_made: tuple[Rootless, str]) -> None:
    rl, name = half_made
    assert rl.out("run", "--rm", *NONE, "-v", f"{name}:/new", BUSYBOX, "ls", "-a", "/new").split() == [".", ".."]


def test_its_files_are_not_shown(half_made: tuple[Rootless, str]) -> None:
    rl, name = half_made
    rl("create", "--name", name, *NONE, "-v", f"{name}:/new", BUSYBOX, "true")
    assert rl.out("volume", "mount", name).endswith("_data")
    assert data(rl, name) == []


def test_another_of_the_kind_is_whole(half_made: tuple[Rootless, str]) -> None:
    rl, name = half_made
    rl("volume", "create", "--opt", "o=uid=0,gid=0", name)
    assert data(rl, name) == []
    assert os.listdir(rl.root / "volumes" / name) == ["_data"]


def test_the_check_sweeps_it_and_keeps_what_only_lacks_its_row(half_made: tuple[Rootless, str]) -> None:
    rl, name = half_made
    kept = rl.root / "volumes" / (name + "kept")
    (kept / "_data").mkdir(parents=True)
    (kept / "_data/precious").write_text("mine")
    refused = rl("volume", "create", "--opt", "o=uid=0", kept.name, check=False)
    assert refused.returncode == 125
    assert "system check --repair" in refused.stderr
    found = json.loads(rl("system", "check", "--quick", "--max", "0s", "--format", "json", check=False).stdout)[
        "damage"
    ]
    kinds = {one["name"]: one["kind"] for one in found}
    assert kinds[kept.name] == "volume"
    assert kinds[str(rl.root / "volumes" / name)] == "leftover"
    rl("system", "check", "--quick", "--max", "0s", "--repair", check=False)
    assert not (rl.root / "volumes" / name).exists()
    assert data(rl, kept.name) == ["precious"]
    rl("volume", "rm", kept.name)
