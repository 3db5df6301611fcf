"""Waiting for the descriptors of all published ports at once, in network.forwarder."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
