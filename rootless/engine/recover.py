"""The truth about containers: what is recorded is compared with what lives, and mended where a crash left it wrong.

A container lives as long as its monitor, which records its end. So one look at the monitor is enough: where it is gone,
the container is ended (it has a parent-death signal, which a set-user-ID program as pid 1 may have lost), the end is
recorded, and what the monitor would have cleaned up is cleaned up. Every command does this for the rows it looks at.

A monitor in another pid namespace (a toolbox, a development container, `unshare`) or on another machine cannot be
looked at; whether it lives is told by the lock that it holds (`bundle.is_held`).
"""

from __future__ import annotations

import os
import time

from rootless.engine import cleanup, records
from rootless.engine.records import Container
from rootless.errors import ConflictError, NotFoundError, RootlessError
from rootless.kernel.pidfd import boot_id, realm, state_and_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from storage.store import Store

_KILLED = 137
_PATIENCE = 10.0  # seconds
_SETTLED = (records.RUNNING, records.STOPPING, records.PAUSED, records.RESTARTING)


def find(store: Store, reference: str) -> Container:
    """As `records.find`, with the truth about it. Raises NotFoundError also where it was to be removed at its end."""
    return refresh(store, records.find(store.db, reference))


def refresh(store: Store, container: Container) -> Container:
    """The container with the truth about it, mended in place. Raises NotFoundError where it is gone by now."""
    return container if _mend(store, container) else _again(store, container)


def refresh_all(store: Store, tell: Callable[[str], None], alive: bool = False) -> list[Container]:
    """All containers, or those with processes and those about to restart, the oldest first, with the truth about each.

    One that cannot be mended stays as it is recorded, and holds up nobody: `tell` is given a warning, once.
    """
    found, failures = [], []
    for container in records.all_containers(store.db, alive):
        try:
            there = _mend(store, container)
        except (RootlessError, OSError) as error:
            there = True
            failures.append(f"cleaning up after {container.name}: {error}")
        if there and (container.up or not alive):
            found.append(container)
    if failures:
        others = len(failures) - 1
        tell(failures[0] + (f" (and {others} more {'like it' if others > 1 else 'container'})" if others else ""))
    return found


def settled(store: Store, container: Container) -> Container:
    """The container once nobody is busy starting or removing it any more: running, prepared by `init`, or with no
    process at all (so also while its monitor waits to start it again).

    Raises NotFoundError where it is gone then, ConflictError where that takes longer than 10 s.
    """
    deadline = time.monotonic() + _PATIENCE
    while container.monitor_pid and container.state not in _SETTLED and not container.waits:
        if time.monotonic() > deadline:
            raise ConflictError(f"waiting for {container.name}: process {container.monitor_pid} is busy with it")
        time.sleep(0.01)
        container = refresh(store, _again(store, container))
    return container


def _again(store: Store, container: Container) -> Container:
    current = records.get(store.db, container.id)
    if current is None:
        raise NotFoundError(f"container {container.name}: it was removed", "`rootless ps -a` lists what there is")
    return current


def _mend(store: Store, container: Container) -> bool:
    """Correct what is recorded about one container, where that is wrong; False where it exists no longer."""
    if container.state == records.REMOVING:
        return _finish_removal(store, container)
    if container.monitor_pid == 0 or _monitor_lives(store, container):
        if container.state == records.STOPPING:
            from rootless.engine.stopping import mend

            return mend(store, container) or _look_again(store, container)
        return True
    return _bury(store, container)


def _monitor_lives(store: Store, container: Container) -> bool:
    if container.boot_id == realm():
        return lives(container.monitor_pid, container.monitor_start, container.boot_id)
    from rootless.engine.bundle import is_held

    held = is_held(store.layout.container(container.id))
    if held is None:  # Its files are not there: not yet, or no longer. From the same boot, it may be at work on them.
        return _same_boot(container) and container.state != records.REMOVING
    return held


def _same_boot(container: Container) -> bool:
    return container.boot_id.partition("/")[0] == boot_id()


def need_here(container: Container, doing: str) -> None:
    """Raise ConflictError, for whoever is `doing` something with its processes, where they have no numbers for us."""
    if container.monitor_pid and container.boot_id != realm():
        where = "in another pid namespace of this machine" if _same_boot(container) else "on another machine"
        raise ConflictError(
            f"{doing} {container.name}: it was started {where}, and its processes cannot be seen from here",
            "do that there: outside of this container or sandbox, or in the one where it was started",
        )


def lives(pid: int, start: int, where: str) -> bool:
    """Whether the process that was written down so still runs; one that only waits to be reaped does not."""
    return condition(pid, start, where) not in ("", "Z", "X")


def condition(pid: int, start: int, where: str) -> str:
    """The state letter (proc(5): R, S, T, Z, ...) of the process that was written down so; "" where it is gone."""
    if pid <= 0 or where != realm():
        return ""
    found = state_and_start(pid)
    return found[0] if found is not None and found[1] == start else ""


def _bury(store: Store, container: Container) -> bool:
    """The monitor is gone without a word: end what is left of the container, and record that."""
    current = records.get(store.db, container.id)
    if current is None:
        return False
    if (current.monitor_pid, current.monitor_start) != (container.monitor_pid, container.monitor_start):
        _copy(container, current)  # the monitor has recorded the end after all, or another has taken over
        return _mend(store, container)
    _copy(container, current)
    _kill_orphan(container)
    if container.auto_remove:
        if container.alive:
            _tell_death(store, container)
        return _take_away(store, container)
    changes: dict[str, Any] = {"pid": 0, "pid_start": 0, "monitor_pid": 0, "monitor_start": 0, "cgroup": ""}
    if container.alive:
        why = "its monitor was killed" if _same_boot(container) else "the machine was restarted"
        changes["state"] = records.EXITED
        changes["exit_code"] = _KILLED
        changes["finished"] = time.time()
        changes["error"] = f"the container was ended: {why}"
    elif container.state == records.RESTARTING:
        why = "its monitor was killed" if _same_boot(container) else "the machine was restarted"
        changes["state"] = records.EXITED
        changes["error"] = f"the container is not restarted: {why}"
    was_alive = container.alive
    if cleanup.record_end(store, container, changes):
        if was_alive:
            _tell_death(store, container)
        return True
    return _look_again(store, container)


def _tell_death(store: Store, container: Container) -> None:
    from rootless.engine.events import container_event

    container_event(store, container, "died", exit=_KILLED)
    container_event(store, container, "cleanup")


def _look_again(store: Store, container: Container) -> bool:
    """Somebody else has changed the row since it was read."""
    current = records.get(store.db, container.id)
    if current is None:
        return False
    _copy(container, current)
    return _mend(store, container)


def _kill_orphan(container: Container) -> None:
    if container.cgroup and _same_boot(container):
        from rootless.engine.cgroups import clear

        clear(container.cgroup)
    if container.pid == 0:
        return
    from rootless.kernel.pidfd import open_if_same, send, wait_exit

    pidfd = open_if_same(container.pid, container.pid_start, container.boot_id)
    if pidfd is not None:
        send(pidfd, 9)
        wait_exit(pidfd, 5000)
        os.close(pidfd)


def _finish_removal(store: Store, container: Container) -> bool:
    """A removal that was begun is gone on with, unless whoever began it still lives."""
    if _monitor_lives(store, container):
        return True
    return _take_away(store, container)


def _take_away(store: Store, container: Container) -> bool:
    """Remove what a dead process was to remove: we alone, as `rm` does."""
    if not cleanup.take(store, container, bool(container.auto_remove)):
        return _look_again(store, container)
    return False


def _copy(target: Container, source: Container) -> None:
    for name in records.COLUMNS:
        setattr(target, name, getattr(source, name))
