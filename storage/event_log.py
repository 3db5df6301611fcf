"""Reading the log of events (`storage.events`), and following it while it is written and begun anew."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from typing import Any

from rootless.jsontext import loads
from rootless.kernel.libc import check, libc
from storage.events import directory

_CHUNK = 1 << 20
_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80
_IN_NONBLOCK, _IN_CLOEXEC = 0x800, 0x80000
_PATIENCE = 1.0  # seconds; network file systems do not tell what other machines write
_KEYS = {"t": int, "type": str, "action": str, "id": str, "name": str}

Event = dict[str, Any]


class _File:
    """One of the files of the log, open; `read` goes on where it was, whatever the file is called by now."""

    def __init__(self, fd: int, at_end: bool) -> None:
        self.fd = fd
        self._at = os.fstat(fd).st_size if at_end else 0
        self._begun = b""

    def read(self) -> list[Event]:
        events = []
        while chunk := os.pread(self.fd, _CHUNK, self._at):
            self._at += len(chunk)
            *lines, self._begun = (self._begun + chunk).split(b"\n")
            events += [event for event in map(_parse, lines) if event is not None]
        return events


class EventLog:
    """The log of the store at `root`. With `only_new`, what has been written before is passed over."""

    def __init__(self, root: str, only_new: bool = False) -> None:
        self._place = directory(root)
        self._files: dict[tuple[int, int], _File] = {}
        self._inotify = -1
        self._look(only_new)

    def read(self) -> list[Event]:
        """What has been written since the last call, in the order of time; lines that are cut or damaged are left out.

        Keys: see `storage.events`; `t`, `type`, `action`, `id` and `name` are there.
        """
        current = self._look(False)
        events = [event for file in self._files.values() for event in file.read()]
        for key in [key for key in self._files if key not in current]:
            os.close(self._files.pop(key).fd)
        return sorted(events, key=lambda event: int(event["t"]))

    def follow(self, until: float | None = None) -> Iterator[list[Event]]:
        """Batches of events as they come, for ever or until that moment (Unix seconds)."""
        self._watch()
        while True:
            left = _PATIENCE if until is None else until - time.time()
            yield self.read()
            if left <= 0:
                return
            select.select([self._inotify], [], [], min(left, _PATIENCE))
            try:
                os.read(self._inotify, 1 << 16)
            except BlockingIOError:
                pass

    def _look(self, at_end: bool) -> list[tuple[int, int]]:
        """Open what is new; the identities of the files that are there, the older one first.

        `log` is opened before `log.1`: one that becomes the other meanwhile is found under either name.
        """
        found: dict[tuple[int, int], int] = {}
        for name in ("log", "log.1"):
            try:
                fd = os.open(f"{self._place}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                continue
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            if key in self._files or key in found:
                os.close(fd)
                found.setdefault(key, -1)
            else:
                found[key] = fd
        identities = list(reversed(found))
        for key in identities:
            if found[key] >= 0:
                self._files[key] = _File(found[key], at_end)
        return identities

    def _watch(self) -> None:
        try:
            os.mkdir(self._place, 0o700)
        except FileExistsError:
            pass
        self._inotify = check(libc.call("inotify_init1", _IN_NONBLOCK | _IN_CLOEXEC), "inotify_init1")
        what = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        check(libc.call("inotify_add_watch", self._inotify, self._place, what), "inotify_add_watch", self._place)


def _parse(line: bytes) -> Event | None:
    if not line:
        return None
    try:
        event = loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or any(type(event.get(key)) is not kind for key, kind in _KEYS.items()):
        return None
    return event
