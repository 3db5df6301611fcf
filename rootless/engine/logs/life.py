"""Whether a container whose log is followed goes on."""

from __future__ import annotations

import time

from rootless.engine.attach import connect, unreachable
from rootless.engine.monitor.streams import CHUNK
from rootless.engine.recover import find
from rootless.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

_PAUSE = 0.05  # seconds


class Life:
    """A connection to the monitor of a container that runs; `over` once it has ended for good.

    Where its log is begun anew at a size (`renewed`) `before_end` is called once all is written, before any file may be
    removed. Raises ConflictError where the monitor cannot be reached.
    """

    __slots__ = ("_connection", "_id", "_renewed", "_store", "before_end", "over")

    def __init__(self, store: Store, container: Container, renewed: bool) -> None:
        self._store = store
        self._renewed = renewed
        self._id = container.id
        self.over = False
        self.before_end: Callable[[], None] | None = None
        self._connection: Any = None
        if not self._connect() and not self._reconnect():
            container = find(store, container.id)  # it may have just ended
            if container.alive:
                raise unreachable(store, container, "following")
            self.over = True

    def _connect(self) -> bool:
        self._connection = connect(self._store, self._id)
        if self._renewed:
            self._send(b"L")
        return self._connection is not None

    def _send(self, message: bytes) -> None:
        if self._connection is not None:
            try:
                self._connection.send(message)
            except OSError:
                pass  # it is ending; what it has told us is still to be read

    def fileno(self) -> int:
        """Readable when there is something to look at; -1 where it is over."""
        return -1 if self._connection is None else int(self._connection.fileno())

    def look(self) -> None:
        """Something has come from the monitor: the end of the container, or its own."""
        try:
            message = self._connection.recv(CHUNK + 1)
        except OSError:
            message = b""
        if message[:1] == b"D":
            if self.before_end is not None:
                self.before_end()
            self._send(b"K")
        elif not message or message[:1] == b"E":
            self._connection.close()
            self._connection = None
            self.over = not self._reconnect()

    def _reconnect(self) -> bool:
        """Whether its restart policy has it go on; what it writes then is in the same log."""
        while True:
            try:
                container = find(self._store, self._id)
            except NotFoundError:
                return False
            if not (container.restart and container.monitor_pid):  # which it has while it is being started, too
                return False
            if self._connect():
                return True
            time.sleep(_PAUSE)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
