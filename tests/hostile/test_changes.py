"""Containers against whoever reads their files: `diff`, `commit` and `export` never leave them nor end in a trap,
and take nothing from a container that only an image or the engine may say."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.trees import described, exported

NONE = ("--network", "none")
SECRET = "a secret of the host"

# Directories, links to the host, fifos and files take turns at the same names.
RACE = """
    mkdir -p /r/a /r/b /r/c; cd /r
    while :; do
        rm -rf a; ln -s {outside} a; rm -f b; mkdir -p b/secret; rm -rf c; ln -s ../../../../../../../..{outside} c
        rm -f a; mkfifo a; rm -rf b; ln -s {outside} b; rm -f c; mkdir c; echo 1 > c/secret
        rm -f a; mkdir a; echo 2 > a/secret; mv c d; rm -f b; mv d b; ln -sfn {outside} b/deeper; mv b/deeper a/deeper
    done
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text(SECRET)
    return place


def upper(rl: Rootless, container: str) -> Path:
    """Where the files that a container has written are; as root of the container it may do what we do there."""
    return Path(rl.inspect(container)["GraphDriver"]["Data"]["UpperDir"])


@pytest.mark.parametrize("driver", ["overlay", "fuse-overlayfs", "vfs"])
def test_a_racing_container_leads_nowhere(fresh: Rootless, busybox: Path, outside: Path, driver: str) -> None:
    need("fuse-overlayfs")
    fresh("load", "-q", "-i", str(busybox))
    fresh.environment["ROOTLESS_STORAGE_DRIVER"] = driver
    fresh("run", "-d", "--name", "c", *NONE, "busybox", "sh", "-c", RACE.format(outside=outside))
    for _ in range(4):
        data = exported(fresh, "c")
        assert SECRET.encode() not in data
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = [name for name in tar.getnames() if name.startswith("r/")]
        assert len(names) == len({*names})
        assert all("/secret" not in line or line[2:].startswith("/r/") for line in fresh.out("diff", "c").splitlines())
    for _ in range(2):
        fresh("commit", "-q", "c", "raced:1")
        layer = fresh.inspect_image("raced:1")["RootFS"]["Layers"][-1].removeprefix("sha256:")
        files = [path for path in (fresh.root / "layers" / layer / "diff").rglob("*") if not path.is_symlink()]
        assert all(SECRET not in path.read_text(errors="replace") for path in files if path.is_file())


def test_names_of_whiteouts_delete_nothing(rl: Rootless, image: str) -> None:
    rl(
        "run",
        "--name",
        "c",
        *NONE,
        image,
        "sh",
        "-c",
        "touch /.wh.bin /etc/.wh..wh..opq /.wh. /.wh..wh.x; echo 1 > /new",
    )
    done = rl("commit", "-q", "c", "whiteouts:1")
    assert done.stderr.count("is not in the image: its name begins with .wh.") == 4
    assert rl.out("run", "--rm", *NONE, "whiteouts:1", "sh", "-c", "cat /new; ls -d /bin; ls /etc/passwd") == (
        "1\n/bin\n/etc/passwd"
    )
    assert "A /.wh.bin" in rl.out("diff", "c").splitlines()
    rl("rmi", "whiteouts:1")


def test_a_container_cannot_forge_what_steers_the_drivers(rl: Rootless, image: str) -> None:
    rl(
        "run",
        "--name",
        "c",
        *NONE,
        image,
        "sh",
        "-c",
        "mkdir /etc/d /new; touch /new/file /new/other; chmod 755 /new/*",
    )
    place = upper(rl, "c") / "new"
    for name in ("user.fuseoverlayfs.opaque", "user.overlay.redirect", "user.overlay.metacopy"):
        os.setxattr(place, name, b"y")
    os.setxattr(place / "file", "user.containers.override_stat", b"99999999999:-1:07777")
    os.setxattr(place / "other", "user.containers.override_stat", b"\xff:\0")
    tree = described(exported(rl, "c"))
    assert tree["new/file"][1:3] == tree["new/other"][1:3] == ("0o755", (0, 0))
    assert all(not member[7] for member in tree.values())
    rl("commit", "-q", "c", "forged:1")
    assert rl.out("run", "--rm", *NONE, "forged:1", "ls", "/new") == "file\nother"
    rl("rmi", "forged:1")


def test_depth_and_length_of_names(rl: Rootless, image: str) -> None:
    """300 directories of names of 100 characters: a path of 30,300 bytes, which no system call takes at once."""
    rl("create", "--name", "c", *NONE, image)
    current = os.open(upper(rl, "c"), os.O_PATH)
    for _ in range(300):
        os.mkdir("x" * 100, dir_fd=current)
        deeper = os.open("x" * 100, os.O_PATH, dir_fd=current)
        os.close(current)
        current = deeper
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.close(current)
    assert rl.out("diff", "c").count("\n") == 300
    rl("commit", "-q", "c", "deep:1")
    names = {*described(exported(rl, "c"))}
    assert max(map(len, names)) == 30_304
    rl("create", "--name", "again", *NONE, "deep:1", "true")
    assert {*described(exported(rl, "again"))} == names
    rl("rm", "c", "again")
    rl("rmi", "deep:1")


def test_sockets_and_fifos_hold_nobody_up(rl: Rootless, image: str) -> None:
    rl(
        "run",
        "-d",
        "--name",
        "c",
        *NONE,
        image,
        "sh",
        "-c",
        "mkfifo /fifo; nc -l -U /socket 2>/dev/null & exec sleep 60",
    )
    tree = described(exported(rl, "c"))
    assert tree["fifo"][0] == tarfile.FIFOTYPE
    assert "socket" not in tree
    rl("commit", "-q", "c", "fifo:1")
    rl("rmi", "fifo:1")
