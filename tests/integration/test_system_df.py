"""`system df` beside what is on the disk."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Rootless
from tests.support.images import NAME, busybox_layer, docker_archive
from tests.support.layers import random_bytes, tar_of

QUIET = ("--network", "none")
WRITE = """dd if=/dev/zero of=/big bs=1000 count=200 2>/dev/null
mkdir -m 700 /private; echo 1234 >/private/f; chown 5:5 /private"""


def kinds(rl: Rootless) -> dict[str, dict[str, Any]]:
    return {kind["Type"]: kind for kind in json.loads(rl.out("system", "df", "--format", "json"))}


def raw(kind: dict[str, Any]) -> tuple[int, int, int, int]:
    return kind["Total"], kind["Active"], kind["RawSize"], kind["RawReclaimable"]


def test_an_empty_store_takes_nothing(fresh: Rootless) -> None:
    assert fresh.out("system", "df").splitlines() == [
        "TYPE           TOTAL       ACTIVE      SIZE        RECLAIMABLE",
        "Images         0           0           0B          0B (0%)",
        "Containers     0           0           0B          0B (0%)",
        "Local Volumes  0           0           0B          0B (0%)",
        "Blobs          0           0           0B          0B (0%)",
    ]


@pytest.mark.usefixtures("busybox")
def test_what_containers_write_is_measured_also_where_only_they_may_look(each_driver: Rootless) -> None:
    rl = each_driver
    rl("run", "--name", "idle", *QUIET, NAME, "sh", "-c", WRITE)
    assert raw(kinds(rl)["Containers"]) == (1, 0, 200_005, 200_005)
    rl("run", "-d", "--name", "busy", *QUIET, NAME, "sh", "-c", "echo 123 >/file; exec sleep 100")
    rl("exec", "busy", "true")
    found = kinds(rl)["Containers"]
    assert (found["Total"], found["Active"], found["RawReclaimable"]) == (2, 1, 200_005)
    assert found["Reclaimable"].startswith("200kB (")


def test_volumes_count_by_their_users(fresh: Rootless, busybox: Path) -> None:
    fresh("load", "-q", "-i", str(busybox))
    fresh("run", "--name", "c", *QUIET, "-v", "used:/data", NAME, "sh", "-c", "echo 12345 > /data/file")
    fresh("volume", "create", "free")
    (fresh.root / "volumes/free/_data/file").write_text("123")
    assert raw(kinds(fresh)["Local Volumes"]) == (2, 1, 9, 3)
    assert kinds(fresh)["Local Volumes"]["Reclaimable"] == "3B (33%)"


def test_verbose_lists_all_of_it(fresh: Rootless, tmp_path: Path) -> None:
    base = busybox_layer()
    for name in ("a", "b"):
        layers = [base, tar_of({name: random_bytes(1, 5000)})]
        archive = docker_archive(tmp_path / f"{name}.tar", layers, names=[f"docker.io/me/{name}:1"])
        fresh("load", "-q", "-i", str(archive))
    fresh("run", "--name", "c", *QUIET, "-v", "data:/data", "me/a:1", "sh", "-c", "echo 123 >/file")
    out = fresh.out("system", "df", "-v")
    titles = [line for line in out.splitlines() if line.endswith("space usage:")]
    assert titles == [f"{kind} space usage:" for kind in ("Images", "Containers", "Local Volumes", "Blobs")]
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["docker.io/me/a"][-2:] == ["5kB", "1"]
    assert rows["docker.io/me/b"][-2:] == ["5kB", "0"]
    assert rows[fresh.inspect("c")["Id"][:12]][-1] == "c"
    assert "4B" in rows[fresh.inspect("c")["Id"][:12]]
    assert rows["data"] == ["data", "1", "0B"]


def test_formats(fresh: Rootless) -> None:
    fresh("volume", "create", "v")
    assert fresh.out("system", "df", "--format", "{{.Type}}:{{.Total}}:{{.Reclaimable}}").splitlines()[2] == (
        "Local Volumes:1:0B (0%)"
    )
    assert fresh.out("system", "df", "--format", "table {{.Type}}\t{{.TotalCount}}").split()[0] == "TYPE"
    refused = fresh("system", "df", "-v", "--format", "json", check=False)
    assert (refused.returncode, refused.stderr.strip()) == (
        125,
        "Error: cannot combine --format and --verbose flags",
    )


def test_a_hundred_containers_share_the_layers(fresh: Rootless, busybox: Path) -> None:
    """FEATURES 16: what each adds is what it has written, and asking takes no time."""
    fresh("load", "-q", "-i", str(busybox))
    before = kinds(fresh)["Images"]["RawSize"]
    for number in range(100):
        fresh("create", "--name", f"c{number}", *QUIET, NAME, "true")
    started = time.monotonic()
    found = kinds(fresh)
    assert time.monotonic() - started < 5
    assert raw(found["Images"]) == (1, 1, before, 0)
    assert raw(found["Containers"]) == (100, 0, 0, 0)
    blocks = sum(path.lstat().st_blocks for path in (fresh.root / "containers").rglob("*")) * 512
    assert blocks < 100 * 64 * 1024
    assert fresh.out("container", "prune", "-f").count("\n") == 99
    assert raw(kinds(fresh)["Containers"]) == (0, 0, 0, 0)
