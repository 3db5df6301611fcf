"""The end of a container, as its monitor sees it: recorded, its network helper gone, its run directory away, and with
`--rm` all of it. Loaded when the container has ended, so the lean monitor pays for it only then."""

from __future__ import annotations

import os
import time

from rootless.engine import cleanup, records
from rootless.engine.events import container_event
from rootless.faults import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from rootless.kernel.userns import UserNamespace
    from storage.store import Store


def _store(state: dict[str, Any]) -> Store:
    from storage.store import Store

    return Store(state["root"], state["runroot"], state["driver"])


def finish(state: dict[str, Any], code: int, store: Store | None = None) -> None:
    """Record that the container of this monitor has ended with exit code `code`, and clean up after it.

    Sets state["pause"] where its restart policy starts it again.
    """
    if store is None:
        store = _store(state)
    step("ended")
    _stop_helper(state)
    oom_killed = 0
    if state.get("cgroup"):  # one that an earlier version has started lacks it
        from rootless.engine import cgroups

        oom_killed = int(cgroups.end(state["cgroup"]))
    container_id: str = state["id"]
    if state["auto_remove"] and not state["policy"] and not state["renew"]:
        container = records.get(store.db, container_id)
        if container is not None:
            _tell_end(store, container, code, oom_killed)
        _remove(store, state)
        return
    changes: dict[str, Any] = {"exit_code": code, "finished": time.time(), "pid": 0, "pid_start": 0}
    changes |= {"cgroup": "", "oom_killed": oom_killed}
    end: dict[str, Any]
    while True:
        container = records.get(store.db, container_id)
        if container is None or container.monitor_pid != os.getpid():
            return  # somebody took us for dead
        state["pause"] = _pause(container, state, code) if container.restart or state["renew"] else None
        if state["pause"] is not None:
            end = {"state": records.RESTARTING}
        elif state["auto_remove"]:
            _tell_end(store, container, code, oom_killed)
            _remove(store, state)
            return
        else:
            end = {"state": records.EXITED, "monitor_pid": 0, "monitor_start": 0}
        if cleanup.record_end(store, container, {**changes, **end}):
            break  # else `stop` has just changed the state
    _tell_end(store, container, code, oom_killed, again=state["pause"] is not None)
    step("recorded")


def _tell_end(store: Store, container: Container, code: int, oom_killed: int, again: bool = False) -> None:
    if oom_killed:
        container_event(store, container, "oom")
    container_event(store, container, "died", exit=code)
    if not again:
        container_event(store, container, "cleanup")


def _pause(container: Container, state: dict[str, Any], code: int) -> float | None:
    """As `restart.pause_before`."""
    from rootless.engine.restart import pause_before

    if state.get("asked"):
        return None
    pause = pause_before(container, code, time.monotonic() - state["since"], state["delay"], state["renew"])
    if pause is not None and state["foreground"] is None:
        import _signal  # type: ignore[import-not-found]

        from rootless.engine.monitor.signals import ENDING

        # Whoever ends the policy says so with one of them, which must still be there when we wait for it.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, ENDING)
    return pause


def _remove(store: Store, state: dict[str, Any]) -> None:
    failure = cleanup.remove_container(store, state["id"], True, lambda: _namespace(state))
    if failure and state["foreground"] is not None:
        os.write(2, f"Warning: {failure}\n".encode(errors="backslashreplace"))


def _namespace(state: dict[str, Any]) -> UserNamespace:
    from rootless.kernel.userns import UserNamespace

    return UserNamespace.from_fd(os.dup(state["userns_fd"]))


def _stop_helper(state: dict[str, Any]) -> None:
    helper = state["helper"]
    if helper is None:
        return
    from network.ports import from_plain
    from network.slirp4netns import Helper

    running = Helper(helper["pid"], helper["exit_fd"], -1, helper["log"], None)
    running.published = [from_plain(port) for port in helper["ports"]]
    running.forwarder = helper["forwarder"]
    running.stop()


def note_rootfs_end(state: dict[str, Any], aloud: bool) -> bool:
    """Record that the process that served the root file system, our child, has died, which ends the container; False
    where it has ended well, with its last mount."""
    ended = os.waitid(os.P_PIDFD, state["rootfs"], os.WEXITED)
    if ended is not None and (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0):
        return False
    _note(state, "fuse-overlayfs has ended: the container has lost its files", aloud)
    return True


def note_helper_end(state: dict[str, Any], pidfd: int, aloud: bool) -> None:
    """Record that a process of the container's network (slirp4netns, or what serves its ports) has died early."""
    if pidfd == state["helper"]["pidfds"][0]:
        what = "slirp4netns has ended: the container has lost its network until it is started again"
    else:
        what = "the port forwarder has ended: the container's ports are closed until it is started again"
    _note(state, what, aloud)


def _note(state: dict[str, Any], what: str, aloud: bool) -> None:
    """Have `inspect` tell it, and whoever waits in the foreground (`aloud`)."""
    from rootless.errors import StorageError

    try:
        records.update(_store(state).db, state["id"], error=what)
        if aloud:
            os.write(2, f"Warning: {what}\n".encode())
    except (OSError, StorageError):
        pass  # a full disk or a closed standard error: no reason to end the container
