"""What is on the disk, and when: the order that a power cut cannot turn around (tests/vm cuts the power)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.command import Rootless, executable

LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += \d")
LOG = "db.sqlite-wal>"


def calls(rl: Rootless, place: Path, *args: str) -> list[str]:
    """What a command has done to the database's log and to directories that go, in order: write, sync, move."""
    need("strace")
    trace = place / "trace"
    words = ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=pwrite64,fsync,fdatasync,rename"]
    done = subprocess.run([*words, executable(), *args], env=rl.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        if match["call"] == "rename" and "/gone-" in match["arguments"]:
            found.append("move")
        elif match["call"] in ("fsync", "fdatasync") and LOG in match["arguments"]:
            found.append("sync")
        elif match["call"] == "pwrite64" and LOG in match["arguments"]:
            found.append("write")
    return [call for n, call in enumerate(found) if found[n - 1 : n] != [call]]


@pytest.mark.parametrize(
    "args", [("tag", "busybox", "kept"), ("untag", "busybox", "busybox"), ("volume", "create", "v")], ids=" ".join
)
def test_what_is_reported_is_on_the_disk(fresh: Rootless, busybox: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    fresh("load", "-q", "-i", str(busybox))
    assert calls(fresh, tmp_path, *args)[-2:] == ["write", "sync"]


def test_layers_go_once_it_is_on_the_disk_that_nothing_needs_them(
    fresh: Rootless, busybox: Path, tmp_path: Path
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    found = calls(fresh, tmp_path, "rmi", "busybox")
    assert found[:3] == ["write", "sync", "move"]


def test_what_containers_do_waits_for_no_disk(fresh: Rootless, busybox: Path, tmp_path: Path) -> None:
    fresh("load", "-q", "-i", str(busybox))
    fresh("create", "--name", "c", "--network", "none", "busybox", "true")
    assert calls(fresh, tmp_path, "rename", "c", "d") == ["write"]
    assert "sync" not in calls(fresh, tmp_path, "rm", "d")
