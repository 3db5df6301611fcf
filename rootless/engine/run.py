"""`run` and `start`: who becomes the monitor, and what the caller sees of it.

run, start -a           this process is the monitor; its exit code is the container's
run -d, start           a forked child is; this process reports the container's start and goes
run -t, start -a -t     a forked child is; this process is its first attached client, so that it can be detached
"""

from __future__ import annotations

from rootless.engine.launchers import existing_container, new_container
from rootless.errors import OvertakenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.launchers import Launcher, Tell
    from rootless.engine.records import Container
    from rootless.engine.request import CreateRequest
    from storage.store import Store


def run_foreground(
    store: Store, request: CreateRequest, tell: Tell, detach_keys: str | None = None, sig_proxy: bool = True
) -> int:
    """Make a container, run it, and stay until it has ended; its exit code (0 where the user has detached).

    `tell` is given warnings. Raises RootlessError where it could not be started.
    """
    launcher = new_container(store, request, tell)
    if request.tty:
        return _follow_child(store, launcher, request.interactive, detach_keys, sig_proxy)
    return _be_monitor(store, launcher, request.interactive, sig_proxy)


def run_detached(store: Store, request: CreateRequest, tell: Tell) -> str:
    """Make a container and leave it running; its id. Raises RootlessError where it could not be started."""
    return _in_child(store, new_container(store, request, tell), [])[0]


def start_detached(store: Store, reference: str, tell: Tell) -> str:
    """Start a stopped container and leave it running; its id. One that runs already is fine.

    Raises NotFoundError, ConflictError, RootlessError.
    """
    while True:
        container = _startable(store, reference)
        if container.alive:
            return container.id
        try:
            return _in_child(store, existing_container(store, container, tell), [])[0]
        except OvertakenError:
            continue


def start_attached(
    store: Store,
    reference: str,
    tell: Tell,
    interactive: bool = False,
    detach_keys: str | None = None,
    sig_proxy: bool = True,
) -> int:
    """Start a stopped container and stay until it has ended; its exit code. One that runs already is attached to."""
    from rootless.engine.request import CreateRequest
    from rootless.jsontext import loads

    while True:
        container = _startable(store, reference)
        if container.alive:
            from rootless.engine.attach import attach

            return attach(store, container.id, interactive, detach_keys, sig_proxy)
        launcher = existing_container(store, container, tell)
        try:
            if CreateRequest.from_plain(loads(container.request)).tty:
                return _follow_child(store, launcher, interactive, detach_keys, sig_proxy)
            return _be_monitor(store, launcher, interactive, sig_proxy)
        except OvertakenError:
            continue


def _startable(store: Store, reference: str) -> Container:
    from rootless.engine import records
    from rootless.engine.recover import find, settled
    from rootless.errors import ConflictError

    container = settled(store, find(store, reference))
    if container.state in (records.REMOVING, records.PAUSED):
        raise ConflictError(f"starting {container.name}: it is {container.state}")
    return container


# Who stays with it


def _be_monitor(store: Store, launcher: Launcher, local_input: bool, sig_proxy: bool) -> int:
    starter, log, auto_remove = launcher()
    state = starter.monitor_state(auto_remove, log, local_input, [])
    from rootless.engine.monitor.finish import finish
    from rootless.engine.monitor.loop import Monitor

    monitor = Monitor(state, True, lambda state, code: finish(state, code, store))
    if sig_proxy:
        monitor.proxy_signals()
    else:
        monitor.end_on_signals()
    return monitor.run()


def _follow_child(store: Store, launcher: Launcher, interactive: bool, detach_keys: str | None, sig_proxy: bool) -> int:
    import _socket

    from rootless.engine.attach import Attachment, parse_detach_keys

    keys = parse_detach_keys(detach_keys)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    _, process = _in_child(store, launcher, [theirs.detach()])
    return Attachment(ours, process, interactive, True, keys, sig_proxy).follow()


def _in_child(store: Store, launcher: Launcher, clients: list[int]) -> tuple[str, tuple[int, int, str]]:
    """Have a child start the container and become its monitor; returns, once its program runs, the container's id and
    (pid, start time, realm) of its pid 1."""
    from rootless.engine.monitor.handover import fork_monitor
    from rootless.kernel.pidfd import realm, start_time

    def launch() -> tuple[dict[str, Any], Any]:
        store.forget()  # here: closing it while nobody else has it open would write the log back and fsync
        starter, log, auto_remove = launcher()
        state = starter.monitor_state(auto_remove, log, False, clients)
        return state, (starter.identity, (starter.pid, start_time(starter.pid) or 0, realm()))

    container_id, process = fork_monitor(launch, clients)
    return container_id, process
