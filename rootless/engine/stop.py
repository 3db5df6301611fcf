"""`stop`, `kill`, `wait`: signals to pid 1, and waiting until its monitor has recorded the end."""

from __future__ import annotations

import os
import time

from rootless.engine import records
from rootless.engine.attach import connect, wait_end
from rootless.engine.events import container_event
from rootless.engine.recover import condition, find, lives, need_here, refresh, settled
from rootless.engine.signals import DEFAULT_TIMEOUT, parse_signal, signal_name
from rootless.errors import ConflictError, NotFoundError, RootlessError
from rootless.faults import step
from rootless.jsontext import loads
from rootless.kernel.pidfd import open_if_same, send, wait_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

    Tell = Callable[[str], None]

_SIGKILL = 9
_SIGCONT = parse_signal("CONT")
_LONGEST_DEATH_MS = 10_000  # from SIGKILL until the last process of a container is gone
_SAME_STATES = {"stopped": records.EXITED, "configured": records.CREATED}
_PATIENCE = 10.0  # seconds that a monitor gets for recording the end


def stop(
    store: Store,
    reference: str,
    timeout: int | None = None,
    tell: Tell | None = None,
    again: bool = False,
    signal: str | None = None,
) -> None:
    """Send the stop signal, wait `timeout` seconds (None: what the container was made with; negative: for ever), then
    kill; returns when the end is recorded. One that does not run is fine. Raises NotFoundError.

    `tell` is given a warning where waiting was in vain. `again`: its monitor is to start it again. `signal`: takes the
    place of the container's stop signal. Raises UsageError where that is none."""
    asked = parse_signal(signal) if signal else 0
    container = settled(store, find(store, reference))
    while container.state == records.RESTARTING:
        from rootless.engine.restart import end

        if end(store, container):
            return
        container = settled(store, find(store, container.id))
    if not container.alive:
        return
    if container.state == records.PAUSED:  # it could not hear the signal
        raise ConflictError(
            f"stopping {container.name}: it is paused",
            f"rootless unpause {container.name}, or rootless kill {container.name}",
        )
    need_here(container, "stopping")
    request = loads(container.request)
    number = asked or parse_signal(request.get("stop_signal") or "SIGTERM")
    if container.waits:
        timeout = 0  # no program of the user's runs
    if timeout is None:
        timeout = request.get("stop_timeout", DEFAULT_TIMEOUT)
    from rootless.engine.stopping import claim

    claimed = claim(store, container.id)
    try:
        stopping = {"state": records.STOPPING} if container.state == records.RUNNING else {}
        if records.update_if(store.db, container, stopped=int(not again), **stopping):
            step("stopping")
            try:
                _end(store, container, number, timeout, tell)
                container_event(store, container, "stop")
            except BaseException:  # Ctrl-C: nobody is stopping it any more
                if container.state == records.STOPPING:
                    records.update_if(store.db, container, state=records.RUNNING, stopped=0)
                raise
            return
    finally:
        if claimed >= 0:
            os.close(claimed)
    try:  # somebody has paused it in this moment, or it has ended
        stop(store, container.id, timeout, tell, again, signal)
    except NotFoundError:
        pass  # it was to be removed at its end


def kill(store: Store, reference: str, signal: str = "KILL") -> None:
    """Send a signal to pid 1; returns after a KILL when the end is recorded.

    Raises NotFoundError, UsageError for a signal that is none, ConflictError where the container does not run.
    """
    number = parse_signal(signal)
    container = find(store, reference)
    if not container.alive:
        container = settled(store, container)  # its policy may be starting it in this moment
    if container.restart and (container.alive or container.state == records.RESTARTING):
        from rootless.engine.restart import end, ends_policy

        if ends_policy(container, number, parse_signal(loads(container.request).get("stop_signal") or "SIGTERM")):
            while container.state == records.RESTARTING:
                if end(store, container):
                    return
                container = settled(store, find(store, container.id))  # it is being started in this moment
            records.update(store.db, container.id, stopped=1)
    if not container.alive or container.waits:
        raise ConflictError(f"sending {signal_name(number)} to {container.name}: it is not running ({container.state})")
    need_here(container, f"sending {signal_name(number)} to")
    if number == _SIGCONT and container.state == records.PAUSED:
        raise ConflictError(f"sending SIGCONT to {container.name}: it is paused", f"rootless unpause {container.name}")
    if number == _SIGKILL:
        container_event(store, container, "kill", signal=number)
        _end(store, container, number, 0)
        return
    pidfd = open_if_same(container.pid, container.pid_start, container.boot_id)
    if pidfd is None or not send(pidfd, number):
        raise ConflictError(f"sending {signal_name(number)} to {container.name}: it has just ended")
    container_event(store, container, "kill", signal=number)


def _end(store: Store, container: Container, number: int, timeout: int, tell: Tell | None = None) -> None:
    connection = connect(store, container.id)
    pidfd = open_if_same(container.pid, container.pid_start, container.boot_id)
    if pidfd is not None:
        if timeout != 0:
            send(pidfd, number)
            step("stop-sent")
            if not wait_exit(pidfd, None if timeout < 0 else timeout * 1000):
                if tell is not None:
                    unit = "second" if timeout == 1 else "seconds"
                    ignored = f"StopSignal {signal_name(number)} failed to stop container {container.name}"
                    tell(f"{ignored} in {timeout} {unit}, resorting to SIGKILL")
                send(pidfd, _SIGKILL)
        else:
            send(pidfd, _SIGKILL)
        ended = wait_exit(pidfd, _LONGEST_DEATH_MS)
        os.close(pidfd)
        if not ended:
            from rootless.engine.unreaped import refusal

            raise refusal(container)
    await_record(store, container, connection)


def await_record(store: Store, container: Container, connection: Any) -> None:
    """Return when the end of a container whose pid 1 has ended is recorded.

    A monitor that is stopped (Ctrl-Z) is woken for that, one that does not manage in time is killed.
    """
    monitor = (container.monitor_pid, container.monitor_start, container.boot_id)
    deadline = time.monotonic() + _PATIENCE
    while lives(*monitor):
        if connection is not None and wait_end(connection, 500) is not None:
            return
        time.sleep(0.005)
        current = records.get(store.db, container.id)
        if current is None or current.monitor_pid != container.monitor_pid:
            return
        late = time.monotonic() > deadline
        if late or condition(*monitor) == "T":
            pidfd = open_if_same(*monitor)
            if pidfd is not None:
                send(pidfd, _SIGKILL if late else _SIGCONT)
                wait_exit(pidfd, 1000 if late else 0)
                os.close(pidfd)
    try:
        refresh(store, container)
    except NotFoundError:
        pass  # it was to be removed at its end


def wait(store: Store, reference: str, conditions: list[str] | None = None, interval: float = 0.25) -> int:
    """Wait until the container has ended, or is in one of the states `conditions`; its exit code, -1 where another
    state than the end came first. `interval` (seconds) between looks, for such states.

    "stopped" means not running; healthy and unhealthy are what its checks say.
    Raises NotFoundError where there is no such container, ConflictError where its health alone is waited for and
    nothing checks it, RootlessError where it was removed meanwhile.
    """
    container = find(store, reference)
    wanted = {_SAME_STATES.get(word, word) for word in conditions or ["exited"]}
    if wanted <= {"healthy", "unhealthy"}:
        from rootless.engine.health.plan import is_check

        if not is_check(loads(container.request).get("health")):
            hint = f"give it one: rootless update --health-cmd COMMAND {container.name}"
            raise ConflictError(f"waiting for {container.name}: it has no health check", hint)
    while True:
        if "exited" in wanted and container.state in (records.EXITED, records.CREATED, records.RESTARTING):
            return container.exit_code
        if container.state in wanted or (container.alive and container.health in wanted):
            return -1
        if wanted == {"exited"} and container.alive:
            connection = connect(store, container.id)
            code = wait_end(connection) if connection is not None else None
            if code is not None:
                return code
            time.sleep(0.01)
        else:
            time.sleep(interval)
        current = records.get(store.db, container.id)
        if current is None:
            if "removed" in wanted:
                return container.exit_code
            raise RootlessError(f"waiting for {container.name}: it was removed")
        container = refresh(store, current)
