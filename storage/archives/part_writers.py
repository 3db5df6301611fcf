"""Layers that children write, a few at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from rootless.errors import StorageError
from storage.progress import Progress

AT_ONCE = max(2, min(8, os.cpu_count() or 1))


class Started(Protocol):
    """A child at work."""

    def finish(self) -> int:
        """Wait for it; how many bytes it has written. Raises what went wrong there."""

    def abort(self) -> None:
        """End it at once."""


class PartWriters:
    """Up to `limit` children at a time; what has been started is waited for by `finish`, or given up by `abort`."""

    def __init__(self, limit: int, progress: Progress) -> None:
        self._limit = limit
        self._progress = progress
        self._running: list[tuple[str, int, Started]] = []

    def add(self, name: str, size: int, start: Callable[[], Started]) -> None:
        """Begin to write the member `name`, which must come out `size` bytes long."""
        while len(self._running) >= self._limit:
            self._wait()
        self._running.append((name, size, start()))

    def finish(self) -> None:
        while self._running:
            self._wait()

    def abort(self) -> None:
        for _, _, started in self._running:
            started.abort()
        self._running.clear()

    def done(self, name: str, size: int) -> None:
        """Tell whoever watches that a layer has been written."""
        digest = os.path.basename(name).removesuffix(".tar")
        self._progress.layer(digest, size)
        self._progress.done(digest)

    def _wait(self) -> None:
        name, size, started = self._running.pop(0)
        written = started.finish()
        if written != size:
            raise StorageError(f"writing {name}: it has {written} bytes, where {size} were expected")
        self.done(name, size)
