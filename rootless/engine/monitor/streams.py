"""Where output goes and where input comes from, without ever waiting for any of them.

Descriptors that we were given (standard output of a foreground `run`) are shared with other programs, which a changed
O_NONBLOCK would surprise; so a pipe or terminal is opened once more, and a socket is asked not to wait for each send.
"""

from __future__ import annotations

import _socket
import posix as os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHUNK = 65536
_SAFE = 4096  # PIPE_BUF: what a pipe that polls as writable takes without waiting
_FORMAT = 0o170000
_FIFO, _CHARACTER, _SOCKET = 0o010000, 0o020000, 0o140000

POLLIN, POLLOUT, POLLHUP, POLLERR = select.POLLIN, select.POLLOUT, select.POLLHUP, select.POLLERR


class Output:
    """A descriptor that takes bytes as it can; what it does not take yet is kept in `pending`.

    `gone` is set once nobody reads any more.
    """

    __slots__ = ("_most", "_opened", "_socket", "fd", "gone", "pending")

    def __init__(self, fd: int, ours: bool = False) -> None:
        """`ours`: the descriptor is nobody else's and is non-blocking already."""
        self.fd = fd
        self.pending = b""
        self.gone = False
        self._opened = ours
        self._most = CHUNK
        self._socket: Any = None

    def offer(self, data: bytes) -> None:
        """Write `data` behind what is pending, as far as possible now."""
        if self.gone:
            return
        if not self._opened:
            self._open()
        self.pending = self.pending + data if self.pending else data
        self.flush()

    def flush(self) -> None:
        """Write more of what is pending."""
        view = memoryview(self.pending)
        try:
            while view:
                if self._socket is not None:
                    count = self._socket.send(view[:CHUNK], _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
                elif self._most < CHUNK and not _writable(self.fd):
                    break
                else:
                    count = os.write(self.fd, view[: self._most])
                view = view[count:]
        except BlockingIOError:
            pass
        except OSError:  # EPIPE, ECONNRESET, EIO of a terminal that hung up, ENOSPC
            self.gone = True
            view = memoryview(b"")
        self.pending = bytes(view)

    def _open(self) -> None:
        self._opened = True
        try:
            kind = os.fstat(self.fd).st_mode & _FORMAT
        except OSError:
            self.gone = True
            return
        if kind == _SOCKET:
            self._socket = _socket.socket(fileno=os.dup(self.fd))
        elif kind in (_FIFO, _CHARACTER):
            try:
                self.fd = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:  # a pipe of another user's making
                self._most = _SAFE


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, POLLOUT)
    return bool(poll.poll(0))


def read(fd: int) -> bytes | None:
    """What is there to read; b"" at the end (also of a terminal that hung up), None when nothing is there now."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
