"""`pause` and `unpause`: all processes of a container stand still for a while.

A container with a control group of its own is frozen, which its programs do not notice. What is in its pid namespace
and not in such a group (all of it, where there is none) is sent SIGSTOP, and SIGCONT afterwards, which they can. The
row says `paused` before the first process is stopped and until the last one goes on, so whatever happens in between,
`unpause` mends it. Two that pause and unpause the same container take turns: they lock its run directory. The file
`paused` in it lists whom the pause has stopped; who stood still before does so afterwards.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rootless.engine import records
from rootless.engine.cleanup import run_directory
from rootless.engine.events import container_event
from rootless.engine.freeze import Stopped, let_go, stop_all, stop_one, stopped_ones
from rootless.engine.records import PAUSED, RUNNING, Container
from rootless.engine.recover import find, need_here, settled
from rootless.errors import ConflictError
from rootless.faults import step
from rootless.kernel.files import lock_file
from rootless.kernel.process import close_range
from storage.store import Store

LIST = "paused"  # in the run directory; the monitor looks for it too
_READY = b"+"
_PATIENCE = 10.0  # seconds until everything must stand still


def pause(store: Store, reference: str) -> None:
    """Stop all processes of a container that runs.

    Raises NotFoundError, ConflictError where it does not run, is paused already, or cannot be paused; then it goes on.
    """
    container = settled(store, find(store, reference))
    need_here(container, "pausing")
    with _turn(store, container, "pausing"):
        os.close(_pause(store, container))
    container_event(store, container, "pause")


def unpause(store: Store, reference: str) -> None:
    """Let a paused container go on. Raises NotFoundError, ConflictError where it is not paused."""
    container = settled(store, find(store, reference))
    need_here(container, "unpausing")
    if container.state != PAUSED:
        raise ConflictError(f"unpausing {container.name}: it is not paused ({container.state})")
    with _turn(store, container, "unpausing"):
        if not _unpause(store, container):
            raise ConflictError(f"unpausing {container.name}: it is not paused: somebody else was faster")
    container_event(store, container, "unpause")


def join(store: Store, container: Container, pid: int, start: int) -> None:
    """Have a process that has just come into a container, while that was being paused, stand still as the others do."""
    try:
        with _turn(store, container, "running a command in"):
            current = records.get(store.db, container.id)
            if current is not None and current.state == PAUSED and stop_one(pid, start):
                with open(_list(store, container), "a", encoding="ascii") as file:
                    file.write(f"{pid} {start}\n")
    except ConflictError:  # it has ended, and the process with it
        pass


@contextmanager
def paused(store: Store, container: Container) -> Iterator[None]:
    """The container is paused meanwhile; one that does not run, or is paused already, is left as it is.

    A guardian, a forked child, lets it go on when this ends, and also where this process is killed. Raises
    ConflictError where it cannot be paused.
    """
    if container.state != RUNNING:
        yield
        return
    need_here(container, "pausing")
    hold, held = os.pipe2(os.O_CLOEXEC)
    answer, answered = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _guard(store, container, hold, answered)
        finally:
            os._exit(0)
    os.close(hold)
    os.close(answered)
    try:
        with open(answer, "rb", buffering=0) as file:
            said = file.readall()
        if said != _READY:
            raise ConflictError(
                said.decode() or f"pausing {container.name}: the process that does it was killed",
                "do it without --pause, or stop the container first",
            )
        step("paused")
        yield
    finally:
        os.close(held)
        os.waitpid(pid, 0)


def _guard(store: Store, container: Container, hold: int, answered: int) -> None:
    """The guardian's life: it holds nothing that its parent has open, so that no lock outlives the parent."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    store.forget()
    first = 3
    for fd in sorted((hold, answered)):
        close_range(first, fd - 1)
        first = fd + 1
    close_range(first)
    ours = Store(store.root, store.runroot, store.driver_request)
    try:
        with _turn(ours, container, "pausing"):
            pause_file = _pause(ours, container)
    except ConflictError as error:
        os.write(answered, str(error).encode())
        return
    os.write(answered, _READY)
    os.close(answered)
    os.read(hold, 1)  # until it is closed
    try:
        with _turn(ours, container, "unpausing"):
            # Only what we have paused: a user may have unpaused it, and paused it again.
            if os.stat(_list(ours, container)).st_ino == os.fstat(pause_file).st_ino:
                _unpause(ours, container)
    except (ConflictError, OSError):  # it has ended
        pass


@contextmanager
def _turn(store: Store, container: Container, doing: str) -> Iterator[None]:
    """Wait until nobody else pauses or unpauses the container. Raises ConflictError where it has ended."""
    try:
        fd = os.open(run_directory(store, container.id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise ConflictError(f"{doing} {container.name}: it is not running ({container.state})") from None
    try:
        lock_file(fd, exclusive=True, blocking=True)
        yield
    finally:
        os.close(fd)


def _pause(store: Store, container: Container) -> int:
    """Pause a container that is said to run; a descriptor of the list of those that were stopped for it."""
    path = _list(store, container)
    if container.state == PAUSED:
        raise ConflictError(f"pausing {container.name}: it is already paused")
    if container.state != RUNNING or not records.update_if(store.db, container, state=PAUSED):
        state = container.state if container.state != RUNNING else "somebody else was faster"
        raise ConflictError(f"pausing {container.name}: it is not running ({state})")
    step("pause-recorded")
    stopped: Stopped = {}
    fd = -1
    try:
        _discard(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        frozen = _freeze(container) if container.cgroup else None
        if not stop_all(container.pid, stopped, _PATIENCE, frozen):
            raise ConflictError(
                f"pausing {container.name}: its processes did not stand still within {_PATIENCE:.0f} s",
                f"what they wait for: rootless top {container.name} pid state args",
            )
        step("pause-stopped")
        # Written at once: a list that is not whole would leave the others standing for ever.
        os.write(fd, b"\n" + b"".join(b"%d %d\n" % process for process in stopped.items()))
        step("pause-listed")
    except BaseException:
        if fd >= 0:
            os.close(fd)
        let_go(stopped)
        _thaw(container)
        _discard(path)
        records.update_if(store.db, container, state=RUNNING)
        raise
    return fd


def _freeze(container: Container) -> Callable[[], set[int]]:
    from rootless.kernel import cgroups

    if not cgroups.freeze(container.cgroup, True, _PATIENCE):
        return set
    return lambda: cgroups.members(container.cgroup)


def _thaw(container: Container) -> None:
    if container.cgroup:
        from rootless.kernel import cgroups

        cgroups.freeze(container.cgroup, False)


def _unpause(store: Store, container: Container) -> bool:
    current = records.get(store.db, container.id)
    if current is None or current.state != PAUSED or current.pid != container.pid:
        return False
    path = _list(store, container)
    listed = _read(path)
    if listed is None:  # the pause was killed in the middle
        listed = stopped_ones(container.pid)
    let_go(listed)
    _thaw(current)
    step("unpause-let-go")
    _discard(path)
    return records.update_if(store.db, current, state=RUNNING)


def _read(path: str) -> Stopped | None:
    """Who was stopped, by a list; None where it is not whole."""
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().split("\n")
    except OSError:
        return None
    if lines[0] or len(lines) < 2:
        return None
    found = [line.split() for line in lines if line]
    return {int(pid): int(start) for pid, start in found}


def _list(store: Store, container: Container) -> str:
    return f"{run_directory(store, container.id)}/{LIST}"


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
