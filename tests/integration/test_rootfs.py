"""`--rootfs`: a container without an image."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.images import busybox_layer

NONE = ("--network", "none")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root file system as a directory."""
    place = tmp_path / "tree"
    place.mkdir()
    subprocess.run(["tar", "-x", "--no-same-owner", "-C", place], input=busybox_layer(), check=True)
    return place


def test_a_directory_is_the_root_file_system(rl: Rootless, tree: Path) -> None:
    assert rl.out("run", "--name", "c", *NONE, "--rootfs", str(tree), "sh", "-c", "id -u; echo hi > /written") == "0"
    assert (tree / "written").read_text() == "hi\n"
    found = rl.inspect("c")
    assert (found["Rootfs"], found["Image"], found["ImageName"]) == (str(tree), "", "")
    (tree / "written").write_text("from outside\n")
    rl("rm", "c")
    assert rl.out("run", "--rm", *NONE, "--rootfs", str(tree), "cat", "/written") == "from outside"
    assert (tree / "bin" / "busybox").exists()


def test_its_files_are_read_and_written_as_those_of_others(rl: Rootless, tree: Path, tmp_path: Path) -> None:
    rl("create", "--name", "c", *NONE, "--rootfs", str(tree), "cat", "/given")
    (tmp_path / "given").write_text("given\n")
    rl("cp", str(tmp_path / "given"), "c:/given")
    assert (tree / "given").read_text() == "given\n"
    assert rl.out("start", "-a", "c") == "given"
    rl("export", "-o", str(tmp_path / "c.tar"), "c")
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "c.tar").read_bytes())) as tar:
        assert {"given", "bin/busybox"} <= set(tar.getnames())
    rl("container", "clone", "c", "d")
    assert rl.out("start", "-a", "d") == "given"
    rl("commit", "-q", "c", "committed:rootfs")
    rl("rm", "c", "d")
    assert rl.out("run", "--rm", *NONE, "committed:rootfs") == "given"
    rl("rmi", "committed:rootfs")


def test_directories_that_are_refused(rl: Rootless, tree: Path) -> None:
    for place, said in (
        ("/no/such/directory", "no such directory"),
        (f"{tree}:O", "not supported"),
        ("/", "own root"),
        ("/usr", "may not write"),
    ):
        done = rl("run", "--rm", *NONE, "--rootfs", place, "true", check=False)
        assert done.returncode == 125
        assert said in done.stderr
    assert rl("run", "--rm", *NONE, "--rootfs", str(tree), check=False).returncode == 125  # nothing names a command
    assert rl.out("ps", "-aq") == ""
