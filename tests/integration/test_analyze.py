"""`image analyze` on real images: what their layers did, what is wasted, limits for scripts, a browsable view."""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from storage.layers.entries import layer_entries
from storage.store import Store
from tests.support.command import Rootless, executable
from tests.support.images import add_directory, add_file, docker_archive
from tests.support.layers import tar_of

NAME = "x.io/waste:1"
BIG, DIRECTORY = 3_000_000, 1000 + 2000


def opaque_layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add_directory(tar, "srv")
        add_file(tar, "srv/.wh..wh..opq", b"")
        add_file(tar, "srv/new", b"12345")
    return out.getvalue()


LAYERS = [
    tar_of({"etc/motd": b"hello", "srv/old": b"old"}),
    tar_of({"opt/big": b"x" * BIG, "opt/dir/a": b"a" * 1000, "opt/dir/b": b"b" * 2000, "etc/motd": b"welcome"}),
    tar_of({"opt/.wh.dir": b"", "opt/big": b"y" * (BIG + 1)}),
    tar_of({"./opt/.wh.big": b""}),
    opaque_layer(),
]


@pytest.fixture
def wasteful(fresh: Rootless, tmp_path: Path) -> Rootless:
    fresh("load", "-q", "-i", str(docker_archive(tmp_path / "waste.tar", LAYERS, names=[NAME])))
    return fresh


def analysis(command: Rootless) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command.out("image", "analyze", "--format", "json", NAME))
    return found


def test_layers_in_json(wasteful: Rootless) -> None:
    layers = analysis(wasteful)["layer"]
    assert [layer["id"] for layer in layers] == [
        digest.removeprefix("sha256:") for digest in wasteful.inspect_image(NAME)["RootFS"]["Layers"]
    ]
    assert [layer["command"] for layer in layers] == [f"layer {number}" for number in range(5)]
    told = [(layer["added"], layer["changed"], layer["removed"]) for layer in layers]
    counted = [tuple((one["files"], one["bytes"]) for one in layer) for layer in told]
    assert counted == [
        ((2, 8), (0, 0), (0, 0)),
        ((3, BIG + DIRECTORY), (1, 7), (0, 0)),
        ((0, 0), (1, BIG + 1), (2, DIRECTORY)),
        ((0, 0), (0, 0), (1, BIG + 1)),
        ((1, 5), (0, 0), (1, 3)),
    ]


def test_what_is_wasted(wasteful: Rootless) -> None:
    image = analysis(wasteful)["image"]
    size = sum((8, BIG + DIRECTORY + 7, BIG + 1, 5))
    wasted = 2 * BIG + 1 + DIRECTORY + 5 + 3
    assert (image["sizeBytes"], image["userSizeBytes"], image["inefficientBytes"]) == (size, size - 8, wasted)
    assert image["efficiencyScore"] == pytest.approx((5 + 5) / size)  # the smaller motd, and srv/new
    assert image["wastedUserPercent"] == pytest.approx(wasted / (size - 8))
    assert [(file["file"], file["count"], file["wastedBytes"]) for file in image["fileReference"]] == [
        ("/opt/big", 3, 2 * BIG + 1),
        ("/opt/dir/b", 2, 2000),
        ("/opt/dir/a", 2, 1000),
        ("/etc/motd", 2, 5),
        ("/srv/old", 2, 3),
    ]


def test_the_table_is_for_people(wasteful: Rootless) -> None:
    lines = wasteful.out("image", "analyze", NAME).splitlines()
    assert lines[1:5] == [
        f"Tags:       {NAME}",
        "Size:       6 MB in 5 layers",
        "Efficiency: 0.00%",
        "Wasted:     6 MB, 100.0% of what is above the lowest layer",
    ]
    assert lines[6].split() == ["LAYER", "SIZE", "ADDED", "CHANGED", "REMOVED", "CREATED", "BY"]
    assert lines[8].split(maxsplit=3)[3].split() == ["3", "(3", "MB)", "1", "(7", "B)", "0", "layer", "1"]
    assert lines[13].split() == ["WASTED", "COPIES", "FILE"]
    assert lines[14].split() == ["6", "MB", "3", "/opt/big"]


def test_a_template_has_a_line_for_each_layer(wasteful: Rootless) -> None:
    told = wasteful.out("image", "analyze", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}}", NAME).splitlines()
    assert len(told) == 5
    assert told[0].split(" ", 1)[1] == "layer 0"
    assert len(told[0].split()[0]) == 64


@pytest.mark.parametrize(
    "limits, broken",
    [
        (["--lowest-efficiency", "0.9"], ["--lowest-efficiency"]),
        (["--highest-wasted-bytes", "20MB"], []),
        (["--highest-wasted-bytes", "5.9MB"], ["--highest-wasted-bytes"]),
        (["--highest-user-wasted-percent", "0.1"], ["--highest-user-wasted-percent"]),
        (["--ci"], ["--lowest-efficiency", "--highest-user-wasted-percent"]),
        (["--ci", "--lowest-efficiency=0", "--highest-user-wasted-percent=disabled"], []),
    ],
)
def test_limits_decide_the_exit_code(wasteful: Rootless, limits: list[str], broken: list[str]) -> None:
    done = wasteful("image", "analyze", *limits, NAME, check=False)
    assert "LAYER" in done.stdout
    assert done.returncode == (1 if broken else 0)
    assert [line.rpartition("(")[2].rstrip(")") for line in done.stderr.splitlines()[1:]] == broken


def test_what_cannot_be_meant(wasteful: Rootless) -> None:
    for words, told in (
        (["--lowest-efficiency", "90"], "share from 0 to 1"),
        (["--highest-wasted-bytes", "much"], "is no size"),
        (["--interactive"], "needs a terminal"),
        (["--interactive", "--format", "json"], "choose one"),
    ):
        done = wasteful("image", "analyze", *words, NAME, check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert told in done.stderr
    assert "no such image" in wasteful("image", "analyze", "x.io/nothing", check=False).stderr


def test_a_damaged_record_is_an_error(wasteful: Rootless) -> None:
    layer = wasteful.inspect_image(NAME)["RootFS"]["Layers"][1].removeprefix("sha256:")
    record = wasteful.root / "layers" / layer / "record"
    data = record.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"x" * 100):
        record.write_bytes(damaged)
        done = wasteful("image", "analyze", NAME, check=False)
        assert done.returncode == 125
        assert "record is damaged" in done.stderr


def test_browsing_in_a_terminal(wasteful: Rootless) -> None:
    ours, theirs = os.openpty()
    environment = {**wasteful.environment, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [executable(), "image", "analyze", "-i", NAME], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 30
    while b"Created by" not in seen or b"motd" not in seen:
        assert time.monotonic() < deadline, seen[-2000:]
        if select.select([ours], [], [], 1)[0]:
            seen += os.read(ours, 1 << 16)
            if b"etc" in seen and b"motd" not in seen and b"Created by" in seen:
                os.write(ours, b"\t\r")
    os.write(ours, b"q")
    while process.poll() is None:
        assert time.monotonic() < deadline
        if select.select([ours], [], [], 0.1)[0]:
            try:
                os.read(ours, 1 << 16)
            except OSError:
                break
    assert process.wait(10) == 0
    os.close(ours)


def special_layer(place: Path) -> bytes:
    """Made by GNU tar: a sparse file, a long name, links, a fifo, whiteouts."""
    tree = place / "tree"
    (tree / "d").mkdir(parents=True)
    with open(tree / "d" / "sparse", "wb") as file:
        file.write(b"begin")
        file.seek(10 << 20)
        file.write(b"end")
    (tree / "d" / "plain").write_bytes(b"12345")
    os.link(tree / "d" / "plain", tree / "d" / "same")
    os.symlink("plain", tree / "d" / "link")
    os.mkfifo(tree / "d" / "pipe", 0o640)
    (tree / "d" / ("n" * 200)).write_bytes(b"long")
    (tree / "d" / ".wh.gone").touch()
    (tree / "d" / ".wh..wh..opq").touch()
    (tree / "d" / ".wh..wh.plnk").touch()
    (tree / "d" / "a.wh.b").touch()
    made = subprocess.run(
        ["tar", "-C", str(tree), "--sparse", "--sort=name", "--owner=7", "--group=8", "--mtime=@9", "-cf-", "./d"],
        check=True,
        capture_output=True,
    )
    return made.stdout


def test_entries_of_a_layer_come_out_of_its_record(fresh: Rootless, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "special.tar", [special_layer(tmp_path)], names=[NAME])
    fresh("load", "-q", "-i", str(archive))
    diff_id = fresh.inspect_image(NAME)["RootFS"]["Layers"][0].removeprefix("sha256:")
    entries = list(layer_entries(Store(str(fresh.root), str(fresh.runroot)), diff_id))
    assert {(one.uid, one.gid, one.mtime) for one in entries} == {(7, 8, 9_000_000_000)}
    found = {(one.path, one.kind): one for one in entries}
    assert len(found) == len(entries)
    assert set(found) == {
        (b"d", "directory"),
        (b"d", "opaque"),
        (b"d/gone", "whiteout"),
        (b"d/a.wh.b", "file"),
        (b"d/link", "symlink"),
        (b"d/" + b"n" * 200, "file"),
        (b"d/pipe", "fifo"),
        (b"d/plain", "file"),
        (b"d/same", "hard link"),
        (b"d/sparse", "file"),
    }
    assert (found[b"d/link", "symlink"].link, found[b"d/same", "hard link"].link) == (b"plain", b"./d/plain")
    assert (found[b"d/plain", "file"].size, found[b"d/same", "hard link"].size) == (5, 0)
    assert found[b"d/pipe", "fifo"].mode == 0o640
    sparse = found[b"d/sparse", "file"]
    assert sparse.size == (10 << 20) + 3
    assert 8 <= sparse.stored < 1 << 20
