"""How pulling looks: bars on a terminal, one line for each thing that happens anywhere else. All on standard error."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Any

from rootless.cli.failures import complain, warn
from rootless.cli.output import human_size
from storage.progress import Progress

_REDRAW_SECONDS = 0.1


class Display(Progress):
    """A `Progress` that is shown while its `with` block lasts."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Quiet(Display):
    """Warnings only."""

    def warn(self, text: str) -> None:
        warn(text)


class Lines(Quiet):
    """For logs and pipes."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}

    def note(self, text: str) -> None:
        complain(text + "\n")

    def layer(self, digest: str, total: int) -> None:
        self._totals[digest] = total

    def done(self, digest: str, note: str = "") -> None:
        complain(f"Layer {digest[:12]}: {note or human_size(self._totals.get(digest, 0))}\n")


class Bars(Quiet):
    """A bar for each layer, drawn by rich (imported with the first layer: 40 ms)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._pending: dict[str, int] = {}
        self._drawn = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def note(self, text: str) -> None:
        complain(text + "\n")

    def warn(self, text: str) -> None:
        if self._bars is None:
            warn(text)
        else:
            self._bars.console.print(f"Warning: {text}", markup=False, highlight=False)

    def layer(self, digest: str, total: int) -> None:
        with self._lock:
            if self._bars is None:
                self._bars = _make_bars()
                self._bars.start()
            if digest not in self._tasks:
                self._tasks[digest] = self._bars.add_task(digest[:12], total=total)

    def advance(self, digest: str, count: int) -> None:
        with self._lock:
            self._pending[digest] = self._pending.get(digest, 0) + count
            now = time.monotonic()
            if now - self._drawn >= _REDRAW_SECONDS:
                self._drawn = now
                self._pass_on()

    def done(self, digest: str, note: str = "") -> None:
        with self._lock:
            self._pass_on()
            if digest in self._tasks:
                return
        if note:
            self.note(f"Layer {digest[:12]}: {note}")

    def _pass_on(self) -> None:
        for digest, count in self._pending.items():
            if digest in self._tasks:
                self._bars.advance(self._tasks[digest], count)
        self._pending.clear()
        if self._bars is not None:
            self._bars.refresh()


def _make_bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        auto_refresh=False,  # no thread of rich's: layers are extracted by forked children
    )


def choose_display(quiet: bool) -> Display:
    """What suits standard error, and --quiet."""
    if quiet:
        return Quiet()
    if os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb":
        return Bars()
    return Lines()
