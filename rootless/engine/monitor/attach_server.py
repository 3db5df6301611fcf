"""The attach socket: other commands follow a container's output, feed its input, resize its terminal, await its end.

A SOCK_SEQPACKET socket in the run directory (0700); each message is one kind byte and its body:

    to us      O follow output   I bytes: input   C no more input   W rows,columns: resize
               L tell when all is in the log   K that was understood: the log may be removed
    from us    1 bytes: standard output   2 bytes: standard error   E code: it has ended, and that is recorded
               D all is in the log

A client that sends no O only waits for E. The command that has made the container, where that has a terminal, stays
connected when a restart policy starts it again: it is told R code instead of E, then P pid,start time of the new pid 1.
"""

from __future__ import annotations

import _socket
import posix as os

from rootless.engine.monitor.streams import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET_NAME = "attach.sock"


def listen(directory: str, name: str = SOCKET_NAME) -> Any:
    """A listening socket in `directory`, whose path may be longer than a socket address."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        server.bind(f"/proc/self/fd/{place}/{name}")
        server.listen(64)
    finally:
        os.close(place)
    return server


def resize(terminal: int, body: bytes) -> None:
    """Give a terminal the size of a message W; one that makes no sense is ignored."""
    import fcntl
    import termios

    rows, _, columns = body.partition(b",")
    if rows.isdigit() and columns.isdigit():
        size = b"".join(min(int(n), 65535).to_bytes(2, "little") for n in (rows, columns)) + bytes(4)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


def tell_latecomers(server: Any, message: bytes) -> None:
    """Those who have connected while the container's end kept the monitor busy are told that as well."""
    while server is not None:
        try:
            fd, _ = server._accept()
        except OSError:  # nobody is left
            return
        Client(_socket.socket(fileno=fd)).offer(message)


class Client:
    """One connection. `follows`: wants output. `reads_log`: follows it there, and that was begun anew. `pending`:
    messages that it has not taken yet."""

    __slots__ = ("follows", "gone", "pending", "reads_log", "socket")

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.follows = False
        self.reads_log = False
        self.gone = False
        self.pending: list[bytes] = []

    def offer(self, message: bytes) -> None:
        """Send a message behind those that are pending, as far as possible now."""
        if not self.gone:
            self.pending.append(message)
            self.flush()

    def flush(self) -> None:
        try:
            while self.pending:
                self.socket.send(self.pending[0], _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
                del self.pending[0]
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
            self.pending = []

    def receive(self) -> bytes | None:
        """The next message; b"" when the client is gone, None when there is none now."""
        try:
            message: bytes = self.socket.recv(CHUNK + 1, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return message
