"""Fixtures that every test may use. Tests run as an ordinary user, never as root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.command import Rootless
from tests.support.filesystems import directory_on
from tests.support.images import NAME, busybox_archive
from tests.support.leaks import assert_nothing_left, processes_of
from tests.support.removal import remove_store as remove_store

DRIVERS = ("overlay", "fuse-overlayfs", "btrfs", "vfs")


def pytest_configure(config: pytest.Config) -> None:
    if os.getuid() == 0:
        pytest.exit("the tests run as an ordinary user: contrib/test makes one when root starts it", returncode=4)
    # How long an example takes says nothing on a busy machine.
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


def need(*commands: str) -> None:
    """Skip where a program of the test set-up is missing; in CI (CI=true) that fails instead."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        message = f"not installed: {', '.join(missing)} (contrib/test installs it)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A docker-archive of a busybox image named `docker.io/library/busybox:latest`."""
    return busybox_archive(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Rootless]:
    """One store per worker with the busybox image in it; tests reach it through `rl`, which checks for leaks."""
    command = Rootless(tmp_path_factory.mktemp("store"))
    command("load", "-q", "-i", str(busybox))
    yield command
    remove_store(command.place)


@pytest.fixture
def rl(shared_store: Rootless) -> Iterator[Rootless]:
    """The command on the shared store; whatever the test leaves running is a failure of that test."""
    yield shared_store
    shared_store("rm", "-f", "-a", "-t", "0", check=False)
    if any(shared_store.root.glob("volumes/*")):  # which the next test may want to make itself
        shared_store("volume", "rm", "-f", "-a", check=False)
    assert_nothing_left(shared_store.place, shared_store.root, shared_store.runroot)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Rootless]:
    """The command on an empty store of its own."""
    yield from _own_store(tmp_path, None)


@pytest.fixture(params=DRIVERS)
def empty_each_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rootless]:
    """The command on an empty store of its own, once for each storage driver."""
    if request.param == "fuse-overlayfs":
        need("fuse-overlayfs")
    with nullcontext(tmp_path) if request.param != "btrfs" else directory_on("btrfs") as place:
        yield from _own_store(place, request.param)


@pytest.fixture
def each_driver(empty_each_driver: Rootless, busybox: Path) -> Rootless:
    """As `empty_each_driver`, with the busybox image."""
    empty_each_driver("load", "-q", "-i", str(busybox))
    return empty_each_driver


def _own_store(tmp_path: Path, driver: str | None) -> Iterator[Rootless]:
    command = Rootless(tmp_path / "store", driver)
    yield command
    if command.root.exists():
        command("rm", "-f", "-a", "-t", "0", check=False)
        assert_nothing_left(command.place, command.root, command.runroot)
    for pid in processes_of(command.place):
        os.kill(pid, 9)
    remove_store(command.place)


@pytest.fixture
def image() -> str:
    """The name of the busybox image in the shared store."""
    return NAME
