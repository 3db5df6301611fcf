"""The `journald` driver: one journal entry for each line, with the fields that Podman's conmon and Docker write.

The native protocol: a datagram to journald's socket, a field a line, those with newlines in them with a length before
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL). One that is too large for a datagram goes as a sealed memory file.
"""

from __future__ import annotations

import _socket
import posix as os
import select

SOCKET = "/run/systemd/journal/socket"
_PATIENCE = 1000  # milliseconds that a journal which takes nothing may hold up the container, once
_EMSGSIZE, _ENOBUFS = 90, 105
_SEALS = 0xF  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE
_F_ADD_SEALS = 1033
_PRIORITY = {b"stdout": b"PRIORITY=6\n", b"stderr": b"PRIORITY=3\n"}


class Journal:
    """Sends what comes to the journal. `fields`: what each entry says of its container, ready to be sent."""

    __slots__ = ("_fields", "_socket", "_stuck")

    def __init__(self, fields: bytes) -> None:
        self._fields = fields
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        self._stuck = False  # has not taken the last entry

    def write(self, stream: bytes, data: bytes) -> None:
        """See sink.Log."""
        *lines, rest = data.split(b"\n")
        head = self._fields + _PRIORITY[stream]
        for line in lines:
            self._send(head + _field(b"MESSAGE", line))
        if rest:
            self._send(head + b"CONTAINER_PARTIAL_MESSAGE=true\n" + _field(b"MESSAGE", rest))

    def _send(self, entry: bytes) -> None:
        # Addressed each time, not connected: a journal that was started anew has another socket of the same name.
        while True:
            try:
                self._socket.sendto(entry, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL, socket_path())
                self._stuck = False
            except BlockingIOError:
                if not self._stuck and self._wait():
                    continue
                self._stuck = True
            except OSError as error:
                if error.errno in (_EMSGSIZE, _ENOBUFS):
                    self._send_file(entry)
            return

    def _wait(self) -> bool:
        """Whether the journal can take something within some time. Only a connected socket knows that of its peer."""
        probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            probe.connect(socket_path())
            poll = select.poll()
            poll.register(probe.fileno(), select.POLLOUT)
            return bool(poll.poll(_PATIENCE))
        except OSError:
            return False
        finally:
            probe.close()

    def _send_file(self, entry: bytes) -> None:
        import fcntl

        fd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(entry)
            while view:
                view = view[os.write(fd, view) :]
            fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
            self._socket.sendmsg([b""], rights, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL, socket_path())
        except OSError:
            pass
        finally:
            os.close(fd)


def socket_path() -> str:
    """Where the journal listens; tests have one of their own."""
    return os.environ.get(b"ROOTLESS_TEST_JOURNAL", b"").decode() or SOCKET


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def fields(values: dict[str, str]) -> bytes:
    """Fields as the protocol has them. Names are upper case letters, digits and underscores."""
    return b"".join([_field(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in values.items()])
