"""Which commands `exec` has at work in a container: a file for each in its run directory, `exec-<id>`.

The process that watches the command holds a lock on the file, so one that was killed leaves a file that says so:
whoever looks next removes it. All of them go with the run directory when the container ends.
"""

from __future__ import annotations

import os
import time

from rootless.engine.cleanup import run_directory
from rootless.jsontext import dumps
from rootless.kernel.files import lock_file, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

_PREFIX = "exec-"


class Session:
    """One command: its `identity` (64 hex digits), and the descriptor `held` with its lock. `path` is "" where the file
    could not be made, which is no reason not to run a command."""

    __slots__ = ("held", "identity", "path")

    def __init__(self, store: Store, container: Container, about: dict[str, Any]) -> None:
        """Note a command that is about to run. `about` is written down, for people who look."""
        self.identity = os.urandom(32).hex()
        self.held = -1
        directory = run_directory(store, container.id)
        self.path = f"{directory}/{_PREFIX}{self.identity}"
        draft = f"{directory}/.{self.identity}"
        try:
            self.held = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            write_all(self.held, dumps({**about, "Created": time.time()}).encode("utf-8", "surrogateescape"))
            lock_file(self.held, exclusive=True, blocking=False)
            os.rename(draft, self.path)
        except OSError:
            self.path = ""

    def forget(self) -> None:
        """The command has ended, or has never begun."""
        if self.held >= 0:
            os.close(self.held)
            self.held = -1
        remove(self.path)


def remove(path: str) -> None:
    """Remove the file of a session; "" and one that has gone with the container are fine."""
    try:
        if path:
            os.unlink(path)
    except OSError:
        pass


def sessions(store: Store, container_id: str) -> list[str]:
    """The ids of the commands that are at work in a container, the oldest first."""
    directory = run_directory(store, container_id)
    found = []
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    for name in names:
        if name.startswith(_PREFIX):
            held = _held(f"{directory}/{name}")
            if held is not None:
                found.append((held, name[len(_PREFIX) :]))
    return [identity for _, identity in sorted(found)]


def _held(path: str) -> float | None:
    """When a session began; None, and its file is removed, where nobody watches it any more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if lock_file(fd, exclusive=False, blocking=False):
            remove(path)
            return None
        return os.fstat(fd).st_mtime
    except OSError:  # a file system without locks: it is believed
        return 0.0
    finally:
        os.close(fd)


def ended(state: dict[str, Any], code: int) -> None:
    """A command that nobody waits for has ended with `code`; `state` is its monitor's (see `exec_`)."""
    from storage.events import emit
    from storage.store import Store

    remove(state["session"])
    about = dict(state["container"])
    emit(Store(state["root"], ""), "container", "exec_died", about.pop("id"), about.pop("name"), exit=code, **about)
