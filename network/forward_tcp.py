"""A published TCP port, served by network.forwarder: a connection into the container for every client."""

from __future__ import annotations

import _socket
import errno
import select
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from network.forward_loop import Loop

_CHUNK = 256 << 10  # bytes held per direction
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class StreamPort:
    """A TCP port: every client gets a connection into the container."""

    __slots__ = ("_family", "_listener", "_loop", "_paused", "_target")

    def __init__(self, loop: Loop, fd: int, target: tuple[str, int]) -> None:
        self._listener = _socket.socket(fileno=fd)
        self._listener.setblocking(False)
        self._family = self._listener.family
        self._loop = loop
        self._target = target
        self._paused = False
        loop.watch(fd, select.EPOLLIN, self._accept)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                fd, _peer = self._listener._accept()  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                return
            client = _socket.socket(self._family, _socket.SOCK_STREAM, 0, fd)
            try:
                inside = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            except OSError:
                client.close()
                self._pause()
                return
            Connection(self._loop, client, inside, self._target, self._resume)

    def _pause(self) -> None:
        """No descriptors left: clients wait in the backlog until a connection ends."""
        self._paused = True
        self._loop.forget(self._listener.fileno())

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)


class Connection:
    """Both directions between a client and the container."""

    __slots__ = ("_client", "_closed", "_connected", "_directions", "_inside", "_loop", "_on_close")

    def __init__(
        self,
        loop: Loop,
        client: _socket.socket,
        inside: _socket.socket,
        target: tuple[str, int],
        on_close: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._client = client
        self._inside = inside
        self._on_close = on_close
        self._closed = self._connected = False
        self._directions = (Direction(client, inside), Direction(inside, client))
        for end in (client, inside):
            end.setblocking(False)
            end.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        inside.connect_ex(target)
        loop.watch(inside.fileno(), _EDGES, self._pump)
        loop.watch(client.fileno(), _EDGES, self._pump)

    def _pump(self) -> None:
        if not self._connected:
            failure = self._inside.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if failure:
                self._close(reset=True)
                return
            try:
                self._inside.getpeername()
            except OSError:  # still on its way
                return
            self._connected = True
        try:
            for direction in self._directions:
                direction.pump()
        except OSError:
            self._close(reset=True)
            return
        if all(direction.done for direction in self._directions):
            self._close(reset=False)

    def _close(self, reset: bool) -> None:
        if self._closed:
            return
        self._closed = True
        for end in (self._client, self._inside):
            self._loop.forget(end.fileno())
            if reset:
                end.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        self._on_close()


class Direction:
    """What one end says, on its way to the other."""

    __slots__ = ("_ended", "_held", "_source", "_target", "done")

    def __init__(self, source: _socket.socket, target: _socket.socket) -> None:
        self._source = source
        self._target = target
        self._held = memoryview(b"")
        self._ended = False
        self.done = False

    def pump(self) -> None:
        """Move on until one of both blocks. Raises OSError where one is broken."""
        while not self.done:
            if not self._held and not self._ended:
                try:
                    self._held = memoryview(self._source.recv(_CHUNK))
                except BlockingIOError:
                    return
                self._ended = not self._held
            if self._held:
                try:
                    self._held = self._held[self._target.send(self._held) :]
                except BlockingIOError:
                    return
            elif self._ended:
                self.done = True
                try:
                    self._target.shutdown(_socket.SHUT_WR)
                except OSError:  # it has closed meanwhile
                    return
