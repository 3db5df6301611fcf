"""The log of what happens to a store: one JSON object a line, appended by whoever does it.

<root>/events/log     what happens now; renamed to log.1 at `LIMIT`, whereby the one before goes

A line is one write to a file opened for appending, so lines of several writers do not mix. Each begins on a line of its
own: what a crash or a full disk has cut takes no other line with it. Writing one never fails a command.

Keys: t (nanoseconds since 1970), type (container, image, volume, system), action, id, name, and where there are any
image (the name of a container's), labels, and others of the action: exit, error, health, streak and log (of a health
check), and what is shown among the attributes (signal, ...).
"""

from __future__ import annotations

import os
import time

from rootless.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from storage.store import Store

LIMIT = 1 << 20  # bytes: there are never more than twice as many
_LONGEST = 64 << 10  # bytes of one line; labels that make it longer are left out


def directory(root: str) -> str:
    """Where the log of the store at `root` is."""
    return root + "/events"


def emit(store: Store, kind: str, action: str, identity: str, name: str, **more: Any) -> None:
    """Write down that `action` has happened to something of the type `kind`. Does nothing where that is not possible.

    `more`: other keys of the line; those that are empty are left out.
    """
    event = {"t": time.time_ns(), "type": kind, "action": action, "id": identity, "name": name}
    for key, value in more.items():
        if value not in ("", None, {}):
            event[key] = value
    try:
        line = _line(event)
        if len(line) > _LONGEST:
            line = _line({key: value for key, value in event.items() if key != "labels"})
        fd = _open(store.root)
        try:
            size = os.fstat(fd).st_size
            os.write(fd, line)
            if size + len(line) >= LIMIT:
                _rotate(fd, directory(store.root))
        finally:
            os.close(fd)
    except OSError:
        pass  # a full or read-only disk: what was done is done all the same


def _line(event: dict[str, Any]) -> bytes:
    return ("\n" + dumps(event) + "\n").encode("utf-8", "backslashreplace")


def _open(root: str) -> int:
    path = directory(root)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path + "/log", flags, 0o600)
    except FileNotFoundError:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass  # by somebody else, in this moment
        return os.open(path + "/log", flags, 0o600)


def _rotate(fd: int, path: str) -> None:
    """Begin a new log, unless somebody else is doing so, or has done so since `fd` was opened."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(path + "/log")):
            os.rename(path + "/log", path + "/log.1")
    except (BlockingIOError, FileNotFoundError):
        pass
