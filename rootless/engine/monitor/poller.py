"""Waiting for descriptors and moments at once: poll(2) with a handler for each."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


_LONGEST_MS = 1 << 30  # poll(2) takes an int


class Poller:
    """`current` is the descriptor whose handler runs."""

    __slots__ = ("_handlers", "_moments", "_poll", "current")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._moments: list[tuple[float, Callable[[], None]]] = []  # when, by time.monotonic()
        self.current = -1

    def watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call `handler(events)` for the events in `mask`; none with 0."""
        if mask:
            self._handlers[fd] = handler
            self._poll.register(fd, mask)
        else:
            self.forget(fd)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def watches(self, fd: int) -> bool:
        return fd in self._handlers

    def forget_all(self) -> None:
        for fd in list(self._handlers):
            self.forget(fd)

    def after(self, seconds: float, handler: Callable[[], None]) -> None:
        """Call `handler()` once, in so many seconds."""
        self._moments.append((time.monotonic() + seconds, handler))

    def once(self) -> None:
        """Wait until something happens, and handle it."""
        for fd, events in self._poll.poll(self._patience()):
            handler = self._handlers.get(fd)
            if handler is not None:
                self.current = fd
                handler(events)
        if self._moments:
            now = time.monotonic()
            due = [moment for moment in self._moments if moment[0] <= now]
            self._moments = [moment for moment in self._moments if moment[0] > now]
            for _, handle in due:
                handle()

    def _patience(self) -> int | None:
        """Milliseconds until the next moment, rounded up, or None."""
        if not self._moments:
            return None
        left = min(moment[0] for moment in self._moments) - time.monotonic()
        return max(0, min(int(left * 1000) + 1, _LONGEST_MS))
