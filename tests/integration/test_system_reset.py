"""`system reset`: all goes, whatever state it is in, and nothing else."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.images import NAME
from tests.support.leaks import host_mounts_of, processes_of

QUIET = ("--network", "none")
PRIVATE = (
    "mkdir -m 700 /private /data/private; touch /private/f /data/private/f; chown -R 5:5 /private /data; exec sleep 100"
)


@pytest.fixture
def full(fresh: Rootless, busybox: Path) -> Rootless:
    """A store with a running container, one that has ended, a volume, and files that only subordinate ids may see."""
    fresh("load", "-q", "-i", str(busybox))
    fresh("run", "-d", "--name", "busy", *QUIET, "-v", "data:/data", NAME, "sh", "-c", PRIVATE)
    fresh("run", "--name", "ended", *QUIET, NAME, "true")
    fresh("run", "-d", "--rm", "--name", "passing", NAME, "sleep", "100")
    return fresh


def assert_gone(rl: Rootless) -> None:
    assert not rl.root.exists()
    assert not rl.runroot.exists()
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
    assert host_mounts_of(rl.place) == []


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def overwrite(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"garbage " * 4000)


def of_the_future(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1000")
    connection.close()


def unreadable(path: Path) -> None:
    path.chmod(0)


def test_it_asks_and_then_all_is_gone(full: Rootless) -> None:
    said = full("system", "reset", input="n\n").stdout
    for line in ("all containers", "all images", "all volumes", f'"{full.root}"', f'"{full.runroot}"'):
        assert line in said
    assert full.status("busy") == "running"
    full("system", "reset", input="y\n")
    assert_gone(full)
    assert full.out("images", "-q") == "", "a new store is made as ever"
    full("system", "reset", "--force")
    full("system", "reset", "--force")
    assert_gone(full)


@pytest.mark.parametrize("damage", [truncate, overwrite, of_the_future, unreadable, os.unlink])
def test_a_store_with_any_database(full: Rootless, damage: Callable[[Path], None]) -> None:
    for ending in ("-wal", "-shm"):
        (full.root / f"db.sqlite{ending}").unlink(missing_ok=True)
    damage(full.root / "db.sqlite")
    full("system", "reset", "-f")
    assert_gone(full)


def test_running_commands_are_ended(full: Rootless) -> None:
    saver = full.popen("save", NAME)
    assert saver.stdout is not None
    saver.stdout.read(1)
    attached = full.popen("run", "-i", *QUIET, NAME, "cat", stdin=-1)
    wait_until(lambda: len(full.out("ps", "-q").split()) == 3)
    full("system", "reset", "-f")
    assert saver.wait() == -signal.SIGKILL
    attached.communicate()
    assert attached.returncode != 0
    assert_gone(full)


def test_no_other_directory_is_deleted(fresh: Rootless, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("containers", "volumes", "tmp", "documents"):
        (home / name).mkdir(parents=True)
        (home / name / "precious").write_text("data")
    link = tmp_path / "link"
    link.symlink_to(home)
    file = tmp_path / "file"
    file.write_text("")
    layout = tmp_path / "oci"
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text("{}")
    for place, why in (
        (home, "does not look like a store"),
        (link, "not a directory"),
        (file, "not a directory"),
        (layout, "does not look like a store"),
        (Path("/"), "belongs to uid"),
        (Path.home(), "does not look like a store"),
    ):
        done = fresh("--root", str(place), "system", "reset", "-f", check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert why in done.stderr
        assert "nothing was deleted" in done.stderr
    assert len(list(home.rglob("precious"))) == 4
    assert (layout / "oci-layout").exists()
    missing = tmp_path / "missing"
    fresh("--root", str(missing), "system", "reset", "-f")
    assert not missing.exists()


def test_what_is_not_the_stores_stays_and_links_are_not_followed(
    fresh: Rootless, busybox: Path, tmp_path: Path
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("data")
    (fresh.root / "mine.txt").write_text("mine")
    for place in ("volumes", "tmp", "layers"):
        (fresh.root / place / "link").symlink_to(precious)
    (fresh.root / "seccomp").symlink_to(precious)
    (fresh.runroot / "containers").mkdir(parents=True, exist_ok=True)
    (fresh.runroot / "socket").write_text("somebody's")
    done = fresh("system", "reset", "-f")
    assert "mine.txt" in done.stderr
    assert [path.name for path in fresh.root.iterdir()] == ["mine.txt"]
    assert (fresh.runroot / "socket").exists()
    assert (precious / "file").read_text() == "data"


@pytest.mark.parametrize(
    "step",
    [
        "reset-db.sqlite",
        "reset-containers",
        "reset-volumes",
        "reset-tmp",
        "reset-in-layers",
        "reset-in-blobs",
        "reset-blobs",
    ],
)
def test_a_killed_reset_leaves_a_store_and_can_be_done_again(full: Rootless, step: str) -> None:
    killed = full("system", "reset", "-f", check=False, env={"ROOTLESS_TEST_DIE_AT": step})
    assert killed.returncode == -signal.SIGKILL
    if step != "reset-blobs":
        assert full.out("images", "-q") == full.out("ps", "-aq") == ""
    full("system", "reset", "-f")
    assert_gone(full)
