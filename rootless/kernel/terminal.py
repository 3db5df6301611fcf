"""Pseudo-terminals and terminal modes (pty(7), termios(3)), without the `tty` module, which imports slowly."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from rootless.kernel.libc import ioctl_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TTY = ord("T")


def open_pty(ptmx_path: str) -> tuple[int, str]:
    """A new pseudo-terminal of the devpts instance of `ptmx_path`: (master, path of the slave beside it).

    The master is close-on-exec and does not become our controlling terminal. Raises OSError.
    """
    master = os.open(ptmx_path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(master, ioctl_number(True, _TTY, 0x31, 4), struct.pack("i", 0))  # TIOCSPTLCK: unlock
        answer = fcntl.ioctl(master, ioctl_number(False, _TTY, 0x30, 4), struct.pack("i", 0))  # TIOCGPTN
    except OSError:
        os.close(master)
        raise
    directory = os.path.dirname(ptmx_path)
    if os.path.basename(directory) != "pts":
        directory += "/pts"
    return master, f"{directory}/{struct.unpack('i', answer)[0]}"


def open_peer(master: int) -> int:
    """The slave of a master, by descriptor: no path is followed, so none can mislead (TIOCGPTPEER); close-on-exec."""
    request = ioctl_number(False, _TTY, 0x41, 0) & 0x1FFFFFFF  # _IO: no direction
    return fcntl.ioctl(master, request, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_raw(fd: int) -> list[Any]:
    """Pass every byte through unchanged, as cfmakeraw(3); returns what `restore` wants."""
    saved = termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN] = 1
    mode[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)
    return saved


def restore(fd: int, saved: list[Any]) -> None:
    """Set the modes that `set_raw` found; a terminal that is gone is left alone."""
    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
    except (termios.error, OSError):
        pass


def get_window_size(fd: int) -> tuple[int, int]:
    """(rows, columns) of a terminal. Raises OSError where `fd` is none."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def size_of_ours() -> tuple[int, int] | None:
    """(rows, columns) of the terminal that we are used from, if there is one."""
    for fd in (0, 1, 2):
        if os.isatty(fd):
            return get_window_size(fd)
    return None


def set_window_size(fd: int, rows: int, cols: int) -> None:
    """Set rows and columns; the foreground processes get SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, cols & 0xFFFF, 0, 0))


def make_controlling(fd: int) -> None:
    """Make a terminal the controlling one of our session; we must be the session's leader and have none."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
