"""File systems of other kinds than the one that holds the temporary files: contrib/test mounts them as loop devices
when root starts it, and says where by ROOTLESS_TEST_FILESYSTEMS."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

import pytest

from rootless.engine.hostfacts import mount_of
from tests.support.removal import remove_store

_FIEMAP = 0xC020660B
_FIEMAP_SYNC = 1
_EXTENT_SHARED = 0x2000


@contextmanager
def directory_on(kind: str) -> Iterator[Path]:
    """A directory of ours on a file system of this kind ("btrfs", "xfs"); the test is skipped where there is none."""
    top = os.environ.get("ROOTLESS_TEST_FILESYSTEMS", "")
    if not top or not os.access(f"{top}/{kind}", os.W_OK):
        pytest.skip(f"no {kind} is mounted: contrib/test does so where root starts it and loop devices can be made")
    made = Path(tempfile.mkdtemp(dir=f"{top}/{kind}"))
    try:
        yield made
    finally:
        remove_store(made)


def on_btrfs(place: Path) -> bool:
    return mount_of(str(place)).fstype == "btrfs"


def shared_bytes(path: str) -> tuple[int, int]:
    """How many bytes of a file lie in blocks that another file has too, and in how many bytes of blocks altogether."""
    with open(path, "rb") as file:
        buffer = bytearray(struct.pack("=QQIIII", 0, 1 << 62, _FIEMAP_SYNC, 0, 512, 0) + bytes(56 * 512))
        ioctl(file.fileno(), _FIEMAP, buffer, True)
    shared = total = 0
    for number in range(struct.unpack_from("=I", buffer, 20)[0]):
        _, _, length, _, _, flags = struct.unpack_from("=QQQQQI", buffer, 32 + 56 * number)
        total += length
        shared += length if flags & _EXTENT_SHARED else 0
    return shared, total
