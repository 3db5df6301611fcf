"""Stopping all processes of a container for a while (SIGSTOP, where there is no freezer to ask).

A guardian, a forked child, stops them, and lets them go on when it is told to or when whoever asked for it has died.
Where the guardian is killed, too, they stay stopped: `rootless kill -s CONT NAME` wakes pid 1, and
`rootless exec NAME kill -CONT -1` all others.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rootless.engine.records import Container
from rootless.engine.recover import need_here
from rootless.errors import ConflictError
from rootless.faults import step
from rootless.kernel.pidfd import open_if_same, realm, send, state_and_start
from rootless.kernel.process import close_range

_NS_GET_PARENT = 0xB702  # _IO(0xb7, 2), ioctl_ns(2)
_PATIENCE = 10.0  # seconds until everything must stand still
_PAUSE = 0.002
_STOPPED = "TtZX"
_READY = b"+"


@contextmanager
def paused(container: Container) -> Iterator[None]:
    """All processes of the container stand still meanwhile; those that stood still before stay so.

    Raises ConflictError where they cannot be stopped; then none is.
    """
    need_here(container, "pausing")
    hold, held = os.pipe2(os.O_CLOEXEC)
    answer, answered = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _guard(container, hold, answered)
        finally:
            os._exit(0)
    os.close(hold)
    os.close(answered)
    try:
        try:
            ready = os.read(answer, 1) == _READY
        finally:
            os.close(answer)
        if not ready:
            raise ConflictError(
                f"pausing {container.name}: its processes did not stand still within {_PATIENCE:.0f} s",
                "commit it without --pause, or stop it first",
            )
        step("paused")
        yield
    finally:
        os.close(held)
        os.waitpid(pid, 0)


def _guard(container: Container, hold: int, answered: int) -> None:
    """The guardian's life: it holds nothing that its parent has open, so that no lock outlives the parent."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    first = 3
    for fd in sorted((hold, answered)):
        close_range(first, fd - 1)
        first = fd + 1
    close_range(first)
    stopped: dict[int, int] = {}
    try:
        if _stop(container, stopped):
            os.write(answered, _READY)
            os.read(hold, 1)  # until it is closed
    finally:
        for pid, start in stopped.items():
            _signal(pid, start, signal.SIGCONT)


def _stop(container: Container, stopped: dict[int, int]) -> bool:
    """Stop one after the other until a look at all of them finds none that runs; `stopped` tells which (pid: start)."""
    try:
        namespace = os.stat(f"/proc/{container.pid}/ns/pid").st_ino
    except OSError:
        return False
    inside = {namespace: True}
    deadline = time.monotonic() + _PATIENCE
    while True:
        running = 0
        for name in os.listdir("/proc"):
            found = state_and_start(name) if name.isdigit() else None
            if found is None or found[0] in _STOPPED or not _is_inside(name, inside):
                continue
            running += 1
            if stopped.get(int(name)) != found[1] and _signal(int(name), found[1], signal.SIGSTOP):
                stopped[int(name)] = found[1]
        if not running:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)


def _signal(pid: int, start: int, number: int) -> bool:
    pidfd = open_if_same(pid, start, realm())
    if pidfd is None:
        return False
    try:
        return send(pidfd, number)
    except PermissionError:
        return False
    finally:
        os.close(pidfd)


def _is_inside(pid: str, known: dict[int, bool]) -> bool:
    """Whether the process is in one of the pid namespaces that are `known` to be the container's, or below one."""
    try:
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # gone, or none of ours
        return False
    path: list[int] = []
    try:
        while True:
            number = os.fstat(fd).st_ino
            path.append(number)
            if number in known:
                answer = known[number]
                break
            try:
                above = fcntl.ioctl(fd, _NS_GET_PARENT)
            except OSError:  # the first of all, or one that we may not see
                answer = False
                break
            os.close(fd)
            fd = above
    finally:
        os.close(fd)
    known.update(dict.fromkeys(path, answer))
    return answer
