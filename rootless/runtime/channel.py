"""Messages between the monitor and the process that is becoming the container: marshal, one length word before each.

A descriptor may travel with a message (SCM_RIGHTS). Both ends are close-on-exec: the end of the stream tells the
monitor that the container's own program has taken over.
"""

from __future__ import annotations

import _socket
import marshal
import os
import struct

from rootless import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LENGTH = struct.Struct("=I")
_ROOM_FOR_ONE = _socket.CMSG_SPACE(4)


class Channel:
    __slots__ = ("socket",)

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def send(self, kind: str, value: Any = None, fd: int | None = None) -> None:
        """Send (kind, value), with a copy of `fd`. Raises BrokenPipeError where the other side is gone."""
        body = marshal.dumps((kind, value))
        ancillary = [] if fd is None else [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))]
        message = _LENGTH.pack(len(body)) + body
        sent = self.socket.sendmsg([message], ancillary, _socket.MSG_NOSIGNAL)
        if sent < len(message):  # an empty send would fail where the other side has taken the message and gone
            self.socket.sendall(message[sent:], _socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[str, Any, int | None]:
        """The next (kind, value, descriptor or None). Raises EOFError where the other side has closed."""
        head, ancillary, _, _ = self.socket.recvmsg(_LENGTH.size, _ROOM_FOR_ONE, _socket.MSG_CMSG_CLOEXEC)
        fd = None
        for level, kind, data in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                fd = int(struct.unpack("i", data[:4])[0])
        head += self._exactly(_LENGTH.size - len(head))
        message = marshal.loads(self._exactly(_LENGTH.unpack(head)[0]))
        return message[0], message[1], fd

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self.socket.recv(count, _socket.MSG_WAITALL)
            if not part:
                raise EOFError("the other side of the channel is gone")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def move_above(self, lowest: int) -> None:
        """Give the socket a descriptor number of at least `lowest`, should it have a lower one."""
        number = self.socket.fileno()
        if number < lowest:
            import fcntl

            self.socket = _socket.socket(fileno=fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, lowest))

    def fileno(self) -> int:
        return int(self.socket.fileno())

    def close(self) -> None:
        self.socket.close()


def pair() -> tuple[Channel, Channel]:
    """Two connected ends."""
    ours, theirs = _socket.socketpair()
    return Channel(ours), Channel(theirs)


def describe_error(error: BaseException) -> tuple[str, str, str | None, int]:
    """An exception as plain values: class name, message, hint, exit code."""
    if isinstance(error, errors.RootlessError):
        # Subclasses made elsewhere (a system call's own) travel as the nearest class of the tree in rootless.errors.
        name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        return name, error.message, error.hint, error.exit_code
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return "KernelError", f"{place}{error.strerror}", None, 125
    if isinstance(error, MemoryError):
        return "KernelError", "starting the container: out of memory", "did you set --ulimit as, data or rss?", 125
    return "RootlessError", f"internal error: {type(error).__name__}: {error}", None, 125


def restore_error(described: tuple[str, str, str | None, int]) -> errors.RootlessError:
    """The exception that `describe_error` described."""
    name, message, hint, exit_code = described
    kind: type[errors.RootlessError] = getattr(errors, name)
    return kind(message, hint, exit_code)
