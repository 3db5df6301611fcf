"""One log among those that are printed: what is wanted of it, entry by entry."""

from __future__ import annotations

from rootless.engine.monitor.logfile import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from rootless.engine.logs.formats import Entry

    class Source(Protocol):
        """A log that is read. `fds`: what becomes readable when there is more."""

        fds: tuple[int, ...]

        def more(self) -> Iterator[Entry] | None:
            """Entries that are there; None where there are no more now."""

        def ended(self) -> bool:
            """Whether there is nothing to wait for; to be asked after `more` had nothing."""

        def woken(self, fd: int) -> None:
            """One of `fds` is readable."""

        def close(self) -> None: ...


class Choice:
    """What is wanted of a log. `since`, `until`: moments, in seconds since 1970, None for no bound. `tail`: only so
    many lines from the end, -1 for all."""

    __slots__ = ("follow", "last", "since", "tail", "until")

    def __init__(
        self, follow: bool = False, tail: int = -1, since: float | None = None, until: float | None = None
    ) -> None:
        self.follow = follow
        self.tail = tail
        self.since = b"" if since is None else stamp(int(since * 1e9))
        self.until = b"" if until is None else stamp(int(until * 1e9))
        self.last = until


class Voice:
    """One container among those whose logs are printed. `prefix`: what stands before each of its lines; `details`: what
    does behind the time."""

    __slots__ = ("_choice", "_entries", "details", "entry", "inside", "prefix", "source", "waiting")

    def __init__(self, source: Source, choice: Choice, prefix: bytes = b"", details: bytes = b"") -> None:
        self.source = source
        self.prefix = prefix
        self.details = details
        self.entry: Entry | None = None  # the next
        self.inside = {1: False, 2: False}  # in the middle of a line
        self.waiting: dict[int, list[bytes]] = {1: [], 2: []}  # pieces of a line whose end has not come
        self._choice = choice
        self._entries: Iterator[Entry] | None = None

    def advance(self) -> bool:
        """Go to the next entry that is wanted; False where there is none now."""
        since, until = self._choice.since, self._choice.until
        while True:
            if self._entries is None:
                self._entries = self.source.more()
                if self._entries is None:
                    self.entry = None
                    return False
            for entry in self._entries:
                if (since and entry.time < since) or (until and entry.time > until):
                    continue  # all are looked at: clocks have been set back
                self.entry = entry
                return True
            self._entries = None
