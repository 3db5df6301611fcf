"""The process that serves a container's published ports; started by network.forward, ends with the monitor.

    main(["USERNS_FD", "NETNS_FD", "EXIT_FD", "ADDRESS", "LISTENER_FD:PORT/PROTOCOL", ...])

It enters the user and network namespaces, gives up every capability, and copies between each client and a
connection of its own to ADDRESS:PORT there. A half-closed connection stays open in the other direction; a container
that refuses a connection is seen by the client as a reset.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import struct
import time

from rootless.kernel.capabilities import set_capabilities
from rootless.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, setns
from rootless.kernel.process import set_no_new_privs, set_process_name

_CHUNK = 256 << 10  # bytes held per direction
_DATAGRAM = 65535
_UDP_IDLE = 60.0  # seconds until a client counts as gone
_UDP_CLIENTS = 1024  # per port
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def main(words: list[str]) -> None:
    """Serve until EXIT_FD hangs up."""
    userns, netns, exit_fd, address, *listeners = words
    for fd, flag in ((int(userns), CLONE_NEWUSER), (int(netns), CLONE_NEWNET)):
        setns(fd, flag)
        os.close(fd)
    set_no_new_privs()
    set_capabilities(0, 0, 0)
    set_process_name("rootless-ports")
    _raise_descriptor_limit()
    loop = Loop()
    for listener in listeners:
        number, _, target = listener.partition(":")
        port, _, protocol = target.partition("/")
        serve = StreamPort if protocol == "tcp" else DatagramPort
        serve(loop, int(number), (address, int(port)))
    loop.run(int(exit_fd))


def _raise_descriptor_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Loop:
    """Who waits for which descriptor."""

    __slots__ = ("_handlers", "_poll", "tickers")

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self.tickers: list[Callable[[], None]] = []

    def watch(self, fd: int, events: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def run(self, exit_fd: int) -> None:
        self._poll.register(exit_fd, 0)  # a hang-up is always told
        while True:
            for fd, _ in self._poll.poll(10.0 if self.tickers else None):
                if fd == exit_fd:
                    return
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
            for ticker in self.tickers:
                ticker()


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


class DatagramPort:
    """A UDP port: every client address gets a socket of its own inside, so that answers find their way back."""

    __slots__ = ("_clients", "_listener", "_loop", "_target")

    def __init__(self, loop: Loop, fd: int, target: tuple[str, int]) -> None:
        self._listener = _socket.socket(fileno=fd)
        self._listener.setblocking(False)
        self._loop = loop
        self._target = target
        self._clients: dict[Any, tuple[_socket.socket, float]] = {}  # by address, least recently heard of first
        loop.watch(fd, select.EPOLLIN, self._receive)
        loop.tickers.append(self._drop_idle)

    def _receive(self) -> None:
        for _ in range(64):
            try:
                data, client = self._listener.recvfrom(_DATAGRAM)
            except OSError:
                return
            inside = self._inside(client)
            if inside is not None:
                try:
                    inside.send(data)
                except OSError:  # nobody listens inside, or its queue is full: a datagram may be lost
                    continue

    def _inside(self, client: Any) -> _socket.socket | None:
        known = self._clients.pop(client, None)
        if known is not None:
            inside = known[0]
        else:
            while len(self._clients) >= _UDP_CLIENTS:
                self._drop(next(iter(self._clients)))
            try:
                inside = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
            except OSError:  # no descriptors left
                return None
            inside.setblocking(False)
            inside.connect_ex(self._target)
            self._loop.watch(inside.fileno(), select.EPOLLIN, lambda: self._answer(inside, client))
        self._clients[client] = inside, time.monotonic()
        return inside

    def _answer(self, inside: _socket.socket, client: Any) -> None:
        for _ in range(64):
            try:
                self._listener.sendto(inside.recv(_DATAGRAM), client)
            except OSError:
                return

    def _drop_idle(self) -> None:
        limit = time.monotonic() - _UDP_IDLE
        while self._clients:
            client, (_, heard) = next(iter(self._clients.items()))
            if heard > limit:
                return
            self._drop(client)

    def _drop(self, client: Any) -> None:
        inside, _ = self._clients.pop(client)
        self._loop.forget(inside.fileno())
        inside.close()
