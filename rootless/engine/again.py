"""A monitor whose container has ended and has a restart policy: it waits, and starts the container again.

It executes itself anew for that, as the lean interpreter, so that nothing piles up over many lives: all that is left is
the container's lock, the connection to a command on a terminal and, in the foreground, our own standard streams.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix as os

from rootless.engine.monitor.signals import ENDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

_KEPT = ("acting", "id", "root", "runroot", "driver", "held", "pause", "foreground", "clients")
_MOST_LOOKS = 100
_A_MOMENT = 0.02  # seconds


def live_on(state: dict[str, Any], code: int) -> dict[str, Any] | int:
    """Become the process that waits `state["pause"]` seconds and starts the container again; `code` is how it ended.

    Returns, as `wait_and_start`, only where that process cannot be: then this one has waited."""
    from rootless.engine.monitor.interpreter import execute

    _signal.pthread_sigmask(_signal.SIG_BLOCK, ENDING)
    kept = {**{name: state[name] for name in _KEPT}, "code": code}
    try:
        execute(kept, {state["held"], *state["clients"]})
    except OSError:  # no memory for it, or an interpreter that was replaced in this moment
        return wait_and_start(kept)


def wait_and_start(state: dict[str, Any]) -> dict[str, Any] | int:
    """The life of that process: the state of the container's monitor once it runs again, which the caller becomes; or
    the exit code where it does not. A signal that would end the process ends the policy."""
    asked = _signal.sigtimedwait(ENDING, state["pause"]) is not None
    _reap(state["acting"])
    from storage.store import Store

    store = Store(state["root"], state["runroot"], state["driver"])
    container = _ours(store, state["id"])
    if container is not None:
        if not (asked or container.stopped):
            return _start(store, container, state)
        _give_up(store, container, stopped=1)
    return int(state["code"])


def _reap(acting: int) -> None:
    """Wait for the health check that has ended the container, a child of ours which waits until that is recorded (0:
    there is none), and for what else is ours and has ended."""
    looks = 0
    try:
        while True:
            ended = os.waitpid(-1, os.WNOHANG)[0]
            if ended == acting:
                acting = 0
            if ended:
                continue
            if not acting:
                return
            looks += 1
            if looks == _MOST_LOOKS:
                os.kill(acting, _signal.SIGKILL)
            _signal.sigtimedwait((), _A_MOMENT)
    except ChildProcessError:
        pass


def _ours(store: Store, container_id: str) -> Container | None:
    """The container, if it is still ours to start."""
    from rootless.engine import records

    container = records.get(store.db, container_id)
    if container is None or container.state != records.RESTARTING or container.monitor_pid != os.getpid():
        return None
    return container


def _give_up(store: Store, container: Container, **changes: Any) -> None:
    from rootless.engine import records
    from rootless.engine.cleanup import take

    changes["state"] = records.EXITED
    if records.update_if(store.db, container, monitor_pid=0, monitor_start=0, **changes) and container.auto_remove:
        take(store, container, True)


def _start(store: Store, container: Container, state: dict[str, Any]) -> dict[str, Any] | int:
    from rootless.engine import records
    from rootless.engine.launchers import existing_container
    from rootless.errors import OvertakenError, RootlessError
    from rootless.faults import step

    # From here on it looks like any container that is being started: whoever wants to stop it waits until it runs.
    if not records.update_if(store.db, container, state=records.EXITED, restarts=container.restarts + 1):
        return int(state["code"])
    step("restarting")
    foreground = state["foreground"]

    def tell(text: str) -> None:
        if foreground is not None:
            os.write(2, f"Warning: {text}\n".encode(errors="backslashreplace"))

    for number in ENDING:
        _signal.signal(number, _signal.SIG_DFL)  # where we were to ignore them
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, ENDING)
    try:
        starter, log, auto_remove = existing_container(store, container, tell, again=True)()
    except OvertakenError:
        return int(state["code"])
    except (RootlessError, OSError) as error:
        tell(f"restarting {container.name}: {error}")
        return _try_later(store, state, getattr(error, "exit_code", 125))
    if foreground is not None:
        following = starter.foreground_state(auto_remove, log, **foreground)
    else:
        for fd in state["clients"]:
            _tell_process(fd, starter.pid)
        following = starter.monitor_state(auto_remove, log, False, state["clients"])
    following["delay"] = state["pause"]
    return following


def _tell_process(client: int, pid: int) -> None:
    import _socket

    from rootless.engine.monitor.attach_server import Client
    from rootless.kernel.pidfd import start_time

    connection = _socket.socket(fileno=client)
    Client(connection).offer(b"P%d,%d" % (pid, start_time(pid) or 0))
    connection.detach()


def _try_later(store: Store, state: dict[str, Any], code: int) -> dict[str, Any] | int:
    """What stood in the way may be gone then."""
    from rootless.engine import records
    from rootless.engine.restart import pause_before
    from rootless.kernel.pidfd import myself

    container = records.get(store.db, state["id"])
    if container is None or container.state != records.EXITED or container.monitor_pid:
        return code
    pause = pause_before(container, code, 0, state["pause"])
    if pause is None:
        _give_up(store, container)
        return code
    pid, start, realm = myself()
    waits = {"state": records.RESTARTING, "monitor_pid": pid, "monitor_start": start, "boot_id": realm}
    if records.update_if(store.db, container, **waits):
        return live_on({**state, "pause": pause}, code)
    return code
