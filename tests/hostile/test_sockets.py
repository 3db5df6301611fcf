"""What controls a container is its owner's alone (HOSTILE 24): no other user connects, lists or guesses."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import remove_store
from tests.support.command import Rootless

# As another user of the host: one of our subordinate ids, which is nobody to our files.
OTHER = """
import os, socket, sys
os.setgroups([]); os.setgid(1000); os.setuid(1000)
for path in sys.argv[1:]:
    for what in (os.listdir, lambda path: os.open(path, os.O_RDONLY), os.stat, os.unlink, os.rmdir,
                 lambda path: len(path) > 107 or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(path)):
        try:
            if what(path) is not True:
                print("reached", path)
        except (PermissionError, NotADirectoryError, ConnectionRefusedError):
            pass
        except OSError as error:
            print("learned", path, error)
"""


@pytest.fixture
def in_the_open(busybox: Path) -> Iterator[Rootless]:
    """The command on a store and a run directory where everybody may look for them."""
    place = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: the paths of sockets are
    place.chmod(0o755)
    command = Rootless(place / "open")
    (place / "open").chmod(0o755)
    command.runroot = place / "r"
    command.environment["ROOTLESS_RUNROOT"] = str(command.runroot)
    command("load", "-q", "-i", str(busybox))
    yield command
    command("rm", "-f", "-a", "-t", "0", check=False)
    remove_store(place)


def test_another_user_reaches_nothing_of_a_container(in_the_open: Rootless, image: str) -> None:
    rl = in_the_open
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "1000")
    rl("exec", "-d", "c", "sleep", "1000")
    container = rl.inspect("c")["Id"]
    live = rl.runroot / "containers" / container
    names = os.listdir(live)
    assert "attach.sock" in names
    assert len(str(live / "attach.sock")) < 108
    assert any(name.startswith("exec-") for name in names)
    for directory in (rl.root, rl.runroot, rl.runroot / "containers", live):
        found = directory.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.getuid()), directory
    paths = [live, *(live / name for name in names), rl.runroot / "containers", rl.root / "db.sqlite", live / "nothing"]
    done = rl("unshare", sys.executable, "-c", OTHER, *map(str, paths))
    assert done.stdout == "", done.stdout
    # The same as the owner: the test can tell.
    done = rl("unshare", sys.executable, "-c", OTHER.replace("os.setuid(1000)", "pass"), str(live / "attach.sock"))
    assert "reached" in done.stdout
