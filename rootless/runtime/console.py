"""The container's terminal: a pty of its own devpts, reached by descriptors only (CVE-2025-52565)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from rootless.errors import RootlessError
from rootless.kernel.libc import ioctl_number
from rootless.kernel.terminal import make_controlling, open_peer, set_window_size

_PTMX = os.makedev(5, 2)


class Console:
    """`master` is for whoever shows the terminal, `slave` for the container."""

    __slots__ = ("master", "slave")

    def __init__(self, devpts: int, size: dict[str, int] | None) -> None:
        """A new pty of the devpts whose root directory `devpts` is. Raises RootlessError."""
        try:
            # Non-blocking, for what lies there may be the container's; a fifo would hold us for ever.
            flags = os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self.master = os.open("ptmx", flags, dir_fd=devpts)
            found = os.fstat(self.master)
            if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _PTMX:
                raise OSError(errno.ENOTTY, "pts/ptmx in the container is not a terminal multiplexer")
            os.set_blocking(self.master, True)
            fcntl.ioctl(self.master, ioctl_number(True, ord("T"), 0x31, 4), struct.pack("i", 0))  # unlock
            self.slave = open_peer(self.master)
        except OSError as error:
            raise RootlessError(f"making the container's terminal: {error.strerror}") from None
        if size and size.get("height") and size.get("width"):
            set_window_size(self.slave, size["height"], size["width"])

    def attach(self, uid: int) -> None:
        """Make the terminal, owned by the container's user, our controlling one and standard input, output, error."""
        os.fchown(self.slave, uid, -1)
        make_controlling(self.slave)
        for fd in range(3):
            os.dup2(self.slave, fd)
        os.close(self.slave)
