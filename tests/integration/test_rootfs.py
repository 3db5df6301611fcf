"""`--rootfs`: a container without an image."""

from __future__ import annotations

import io
import os
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


def everything(tree: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(tree.rglob("*")):
        about = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (about.st_mode, about.st_mtime_ns, data)
    return found


def test_an_overlay_leaves_the_directory_as_it_is(rl: Rootless, tree: Path, tmp_path: Path) -> None:
    (tree / "kept").write_text("old\n")
    (tree / "gone").write_text("x\n")
    tree.chmod(0o555)
    before = everything(tree)
    script = "cat /kept; echo new > /kept; rm /gone; echo hi > /written; stat -c %a /"
    assert rl.out("run", "--name", "c", *NONE, "--rootfs", f"{tree}:O", "sh", "-c", script) == "old\n555"
    assert everything(tree) == before, "not even a mount point was made"
    assert rl.inspect("c")["Rootfs"] == str(tree)
    assert set(rl.out("diff", "c").splitlines()) == {"C /etc", "C /kept", "D /gone", "A /written"}
    rl("cp", "c:/kept", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "new\n"
    rl("export", "-o", str(tmp_path / "c.tar"), "c")
    with tarfile.open(tmp_path / "c.tar") as tar:
        assert {"kept", "written", "bin/busybox"} <= set(tar.getnames())
        assert "gone" not in tar.getnames()
    rl("commit", "-q", "--change", "CMD cat /kept /written", "c", "committed:overlay")
    rl("container", "clone", "c", "d")
    assert rl.out("start", "-a", "d") == "old\n555", "a clone has new files"
    assert rl.out("start", "-a", "c", check=False) == "new\n555", "its own last as long as it does"
    rl("rm", "c", "d")
    assert everything(tree) == before
    assert rl.out("run", "--rm", *NONE, "committed:overlay") == "new\nhi"
    rl("rmi", "committed:overlay")
    tree.chmod(0o755)


@pytest.mark.skipif(not os.path.isdir("/usr/local/etc"), reason="no directory of root's has an etc in it here")
def test_an_overlay_on_files_of_real_root_cannot_change_them(rl: Rootless) -> None:
    done = rl("run", "--rm", *NONE, "--rootfs", "/usr/local:O", "true", check=False)
    assert done.returncode == 125
    assert "making the mount point /etc/" in done.stderr
    assert "hint: the directory belongs to a user who has no id in the container" in done.stderr


def test_an_overlay_needs_a_driver_that_makes_some(rl: Rootless, tree: Path) -> None:
    done = rl("--storage-driver", "vfs", "run", "--rm", *NONE, "--rootfs", f"{tree}:O", "true", check=False)
    assert (done.returncode, "stacks nothing" in done.stderr) == (125, True)
    assert rl.out("ps", "-aq") == ""


def test_directories_that_are_refused(rl: Rootless, tree: Path) -> None:
    for place, said in (
        ("/no/such/directory", "no such directory"),
        (f"{tree}:idmap", "cannot map"),
        ("/:O", "own root"),
        ("/", "own root"),
        ("/usr", "may not write"),
    ):
        done = rl("run", "--rm", *NONE, "--rootfs", place, "true", check=False)
        assert done.returncode == 125
        assert said in done.stderr
    assert rl("run", "--rm", *NONE, "--rootfs", str(tree), check=False).returncode == 125  # nothing names a command
    assert rl.out("ps", "-aq") == ""
