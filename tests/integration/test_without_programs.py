"""Hosts without the helper programs, or with broken ones (HOSTILE 34)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory to be $PATH, with newuidmap and newgidmap."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("newuidmap", "newgidmap"):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        (directory / name).symlink_to(found)
    return directory


def refused(rl: Rootless, path: Path, *words: str) -> str:
    done = rl(*words, env={"PATH": str(path)}, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert rl.out("ps", "-aq") == ""
    return done.stderr


def test_without_slirp4netns_a_network_is_refused_and_the_others_work(rl: Rootless, path: Path, image: str) -> None:
    said = refused(rl, path, "run", "--rm", image, "id")
    assert "starting slirp4netns: it is not installed" in said
    assert "apt-get install slirp4netns" in said
    for network in ("none", "host"):
        done = rl("run", "--rm", "--network", network, image, "true", env={"PATH": str(path)})
        assert done.stderr == ""


def test_without_fuse_overlayfs_its_driver_is_refused(rl: Rootless, path: Path, image: str) -> None:
    words = ("run", "--rm", "--network", "none", image, "id")
    said = refused(rl, path, "--storage-driver", "fuse-overlayfs", *words)
    assert "fuse-overlayfs is not installed" in said
    assert "hint: install the package fuse-overlayfs" in said


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("#!/bin/sh\necho boom: no luck >&2\nexit 1\n", "starting slirp4netns: boom: no luck"),
        ("#!/bin/sh\nkill -SEGV $$\n", "starting slirp4netns: it ended without a word"),
        ("neither a script nor a program", "cannot be executed: Exec format error"),
    ],
)
@pytest.mark.parametrize("options", [(), ("-d",), ("-d", "-p", "80")])
def test_slirp4netns_that_fails_at_its_start(
    rl: Rootless, path: Path, image: str, program: str, reason: str, options: tuple[str, ...]
) -> None:
    (path / "slirp4netns").write_text(program)
    (path / "slirp4netns").chmod(0o755)
    said = refused(rl, path, "run", "--rm", *options, image, "sleep", "10")
    assert reason in said
    assert "use --network none or --network host" in said


def helper_of(rl: Rootless, name: str) -> int:
    monitor = rl.inspect(name)["State"]["ConmonPid"]
    children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(monitor)], capture_output=True, text=True)
    (found,) = [int(line.split()[0]) for line in children.stdout.splitlines() if "slirp4netns" in line]
    return found


def test_slirp4netns_that_dies_later_is_told_and_a_restart_mends_it(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", image, "sleep", "100")
    os.kill(helper_of(rl, "c"), 9)
    wait_until(lambda: rl.inspect("c")["State"]["Error"])
    state = rl.inspect("c")["State"]
    assert state["Status"] == "running"
    assert "slirp4netns has ended: the container has lost its network" in state["Error"]
    assert rl("exec", "c", "ip", "addr", "show", "tap0", check=False).returncode == 1
    rl("restart", "-t", "0", "c")
    assert "10.0.2.100" in rl.out("exec", "c", "ip", "addr", "show", "tap0")
    assert rl.inspect("c")["State"]["Error"] == ""


def test_slirp4netns_that_dies_later_is_told_by_a_foreground_run(rl: Rootless, image: str) -> None:
    running = rl.popen("run", "--rm", "-i", "--name", "c", image, "cat", stdin=subprocess.PIPE)
    wait_until(lambda: rl.out("ps", "-q"))
    os.kill(helper_of(rl, "c"), 9)
    wait_until(lambda: rl.inspect("c")["State"]["Error"])
    output, errors = running.communicate(b"still here\n", timeout=20)
    assert (running.returncode, output) == (0, b"still here\n")
    assert b"Warning: slirp4netns has ended" in errors
