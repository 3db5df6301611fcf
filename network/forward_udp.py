"""A published UDP port, served by network.forwarder: a socket into the container for every client."""

from __future__ import annotations

import _socket
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from network.forward_loop import Loop

_DATAGRAM = 65535
_UDP_IDLE = 60.0  # seconds until a client counts as gone
_UDP_CLIENTS = 1024  # per port


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
