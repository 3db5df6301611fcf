"""The container's standard input: it comes from our own, and from attached clients. Whoever gives it waits while the
container does not take it, as in a pipeline."""

from __future__ import annotations

import posix as os

from rootless.engine.monitor.streams import POLLIN, POLLOUT, Output, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.monitor.poller import Poller

_END_OF_INPUT = b"\x04"  # what a terminal takes for the end of input
_OURS = 0


class Input:
    """`held`: the container does not take what it was given, so nothing more is read for it. `changed()` is called
    when that changes.

    A terminal is one descriptor both ways: the monitor watches it, and calls `flush` where it takes input again.
    """

    __slots__ = ("_changed", "_ends", "_local", "_output", "_poller", "_tty", "held")

    def __init__(self, poller: Poller, fd: int, tty: bool, local: bool, changed: Callable[[], None]) -> None:
        """`fd`: -1 where the container has no input. `local`: our own standard input is part of it."""
        self._poller = poller
        self._tty = tty
        self._changed = changed
        self._ends = False
        self.held = False
        self._output: Output | None = None
        if fd >= 0:
            os.set_blocking(fd, False)
            self._output = Output(fd, ours=True)
        self._local = local and fd >= 0

    @property
    def open(self) -> bool:
        return self._output is not None

    def waits_for(self, fd: int) -> bool:
        """Whether `fd` is the container's terminal, and has to take what is pending."""
        return self._output is not None and self._output.fd == fd and bool(self._output.pending)

    def begin(self) -> None:
        """Read our own standard input from now on, if it takes part."""
        if self._local:
            self._poller.watch(_OURS, POLLIN, self._ours_ready)

    def give(self, data: bytes) -> None:
        if self._output is None or self._output.gone or self._ends:
            return
        self._output.offer(data)
        if self._output.gone:
            self.close()
        elif self._output.pending:
            self._hold(True)

    def end(self) -> None:
        """There is no more of it: the container reads that once it has taken the rest."""
        if self._output is None:
            return
        if self._tty:
            self.give(_END_OF_INPUT)
            return
        self._ends = True
        if not self._output.pending:
            self.close()

    def close(self) -> None:
        if self._output is None:
            return
        fd = self._output.fd
        self._output = None
        if self.held:
            self._hold(False)
        if self._local:
            self._local = False
            self._poller.forget(_OURS)
        if not self._tty:
            self._poller.forget(fd)
            os.close(fd)

    def flush(self, events: int = 0) -> None:
        """Give more of what is pending."""
        if self._output is None:
            return
        self._output.flush()
        if self._output.pending:
            return
        gone = self._output.gone
        self._hold(False)
        if gone or self._ends:
            self.close()

    def _ours_ready(self, events: int) -> None:
        data = read(_OURS)
        if data is None:
            return
        if data:
            self.give(data)
        else:
            self._local = False
            self._poller.forget(_OURS)
            self.end()

    def _hold(self, hold: bool) -> None:
        self.held = hold
        if self._local:
            self._poller.watch(_OURS, 0 if hold else POLLIN, self._ours_ready)
        if self._output is not None and not self._tty:
            self._poller.watch(self._output.fd, POLLOUT if hold else 0, self.flush)
        self._changed()
