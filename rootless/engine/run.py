"""`run` and `start`: who becomes the monitor, and what the caller sees of it.

run, start -a           this process is the monitor; its exit code is the container's
run -d, start           a forked child is; this process reports the container's start and goes
run -t, start -a -t     a forked child is; this process is its first attached client, so that it can be detached
"""

from __future__ import annotations

from rootless.engine.launchers import existing_container, new_container
from rootless.errors import NotFoundError, OvertakenError, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.launchers import Launcher, Tell
    from rootless.engine.records import Container
    from rootless.engine.request import CreateRequest
    from storage.store import Store


def run_foreground(
    store: Store,
    request: CreateRequest,
    tell: Tell,
    detach_keys: str | None = None,
    sig_proxy: bool = True,
    preserve: list[int] | None = None,
) -> int:
    """Make a container, run it, and stay until it has ended; its exit code (0 where the user has detached).

    `tell` is given warnings; `preserve`: see `new_container`. Raises RootlessError where it could not be started.
    """
    if request.requires:
        _start_needed(store, request, tell)
    launcher = new_container(store, request, tell, True, preserve)
    if request.tty:
        return _follow_child(store, launcher, request.interactive, detach_keys, sig_proxy)
    streams = [0, 1, 2] if request.interactive else [1, 2]
    if request.attach:
        from rootless.engine.lifespan import streams_of

        streams = streams_of(request)
        request.interactive = request.interactive or 0 in streams
    return _watch(store, launcher, streams, sig_proxy)


def run_detached(store: Store, request: CreateRequest, tell: Tell, preserve: list[int] | None = None) -> str:
    """Make a container and leave it running; its id. Raises RootlessError where it could not be started."""
    if request.requires:
        _start_needed(store, request, tell)
    return _in_child(store, new_container(store, request, tell, False, preserve), [])[0]


def start_detached(store: Store, reference: str, tell: Tell) -> str:
    """Start a stopped container and leave it running; its id. One that runs already is fine.

    Raises NotFoundError, ConflictError, RootlessError.
    """
    while True:
        container = _startable(store, reference, tell)
        if container.alive and not container.waits:
            return container.id
        try:
            if container.waits:
                _let_run(store, container, tell)
                return container.id
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
        container = _startable(store, reference, tell)
        if container.alive:
            from rootless.engine.attach import attach

            begin = (lambda one=container: _let_run(store, one, tell)) if container.waits else None
            try:
                return attach(store, container.id, interactive, detach_keys, sig_proxy, begin)
            except OvertakenError:
                continue
        launcher = existing_container(store, container, tell, attached=True)
        try:
            if CreateRequest.from_plain(loads(container.request)).tty:
                return _follow_child(store, launcher, interactive, detach_keys, sig_proxy)
            return _watch(store, launcher, [0, 1, 2] if interactive else [1, 2], sig_proxy)
        except OvertakenError:
            continue


def _let_run(store: Store, container: Container, tell: Tell) -> None:
    from rootless.engine.prepared import let_run

    for warning in let_run(store, container):
        tell(warning)


def _start_needed(store: Store, request: CreateRequest, tell: Tell) -> None:
    from rootless.engine.lifespan import settle

    settle(store, request)
    for needed in request.requires:
        _start_one_needed(store, needed, request.name or "the container", tell)


def _startable(store: Store, reference: str, tell: Tell) -> Container:
    from rootless.engine import records
    from rootless.engine.recover import find, settled
    from rootless.errors import ConflictError

    container = settled(store, find(store, reference))
    while container.state == records.RESTARTING:  # the user does not want to wait so long
        from rootless.engine.restart import end

        end(store, container)
        container = settled(store, find(store, container.id))
    start_what_it_needs(store, container, tell)
    if container.state == records.PAUSED:
        raise ConflictError(f"starting {container.name}: it is paused", f"rootless unpause {container.name}")
    if container.state == records.REMOVING:
        raise ConflictError(f"starting {container.name}: it is being removed")
    return container


def start_what_it_needs(store: Store, container: Container, tell: Tell) -> None:
    """Start the containers that one which does not run was made to need (`--requires`). Raises RootlessError where one
    of them cannot be started."""
    if not container.alive and '"requires"' in container.request:
        from rootless.engine.records import dependencies

        for needed in dependencies(store.db, container.id):
            _start_one_needed(store, needed, container.name, tell)


def _start_one_needed(store: Store, needed: str, name: str, tell: Tell) -> None:
    """Start one container (its id), and what that needs, for the one called `name`."""
    try:
        start_detached(store, needed, tell)
    except NotFoundError:
        raise NotFoundError(
            f"starting {name}: it needs container {needed[:12]}, which is gone", "make the container anew"
        ) from None
    except RootlessError as error:
        raise type(error)(f"starting {name}: a container that it needs does not run: {error}", error.hint) from error


# Who stays with it


def _watch(store: Store, launcher: Launcher, streams: list[int], sig_proxy: bool) -> int:
    """Start a container and be its monitor in the foreground; its exit code."""
    starter, log, auto_remove = launcher()
    return watch(starter.foreground_state(auto_remove, log, streams, sig_proxy), store)


def watch(state: dict[str, Any], store: Store | None = None) -> int:
    """Be the monitor of a container in the foreground (`Starter.foreground_state`) until it has ended; its exit code.

    Where its restart policy starts it again this process executes itself anew (`again`).
    """
    from rootless.engine.monitor.finish import finish
    from rootless.engine.monitor.loop import Monitor

    while True:
        monitor = Monitor(state, True, lambda state, code: finish(state, code, store))
        if state["foreground"]["sig_proxy"]:
            monitor.proxy_signals()
        else:
            monitor.end_on_signals()
        code = monitor.run()
        if state["pause"] is None:
            return code
        from rootless.engine.again import live_on

        following = live_on(state, code)
        if isinstance(following, int):
            return following
        state = following


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
    from rootless.engine.handover import fork_monitor
    from rootless.kernel.pidfd import realm, start_time

    def launch() -> tuple[dict[str, Any], Any]:
        store.forget()  # here: closing it while nobody else has it open would write the log back and fsync
        starter, log, auto_remove = launcher()
        state = starter.monitor_state(auto_remove, log, False, clients)
        return state, (starter.identity, (starter.pid, start_time(starter.pid) or 0, realm()))

    container_id, process = fork_monitor(launch, clients)
    return container_id, process
