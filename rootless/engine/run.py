"""`run` and `start`: who becomes the monitor, and what the caller sees of it.

run, start -a           this process is the monitor; its exit code is the container's
run -d, start           a forked child is; this process reports the container's start and goes
run -t, start -a -t     a forked child is; this process is its first attached client, so that it can be detached
"""

from __future__ import annotations

from rootless.engine import cleanup, create, networking, records
from rootless.engine.bundle import read_config
from rootless.engine.faults import step
from rootless.engine.monitor.handover import fork_monitor
from rootless.engine.monitor.loop import Monitor
from rootless.engine.request import CreateRequest
from rootless.engine.start import Starter, myself, open_log
from rootless.jsontext import loads
from rootless.kernel.pidfd import boot_id, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

    Tell = Callable[[str], None]
    # Makes the container run and returns its starter, its log and whether it is to be removed at its end.
    Launcher = Callable[[], tuple[Starter, int, bool]]


def run_foreground(
    store: Store, request: CreateRequest, tell: Tell, detach_keys: str | None = None, sig_proxy: bool = True
) -> int:
    """Make a container, run it, and stay until it has ended; its exit code (0 where the user has detached).

    `tell` is given warnings. Raises RootlessError where it could not be started.
    """
    launcher = _new(store, request, tell)
    if request.tty:
        return _follow_child(store, launcher, request.interactive, detach_keys, sig_proxy)
    return _be_monitor(store, launcher, request.interactive, sig_proxy)


def run_detached(store: Store, request: CreateRequest, tell: Tell) -> str:
    """Make a container and leave it running; its id. Raises RootlessError where it could not be started."""
    return _in_child(store, _new(store, request, tell), [])[0]


def start_detached(store: Store, reference: str, tell: Tell) -> str:
    """Start a stopped container and leave it running; its id. One that runs already is fine.

    Raises NotFoundError, ConflictError, RootlessError.
    """
    container = _startable(store, reference)
    if container.alive:
        return container.id
    return _in_child(store, _existing(store, container, tell), [])[0]


def start_attached(
    store: Store,
    reference: str,
    tell: Tell,
    interactive: bool = False,
    detach_keys: str | None = None,
    sig_proxy: bool = True,
) -> int:
    """Start a stopped container and stay until it has ended; its exit code. One that runs already is attached to."""
    container = _startable(store, reference)
    if container.alive:
        from rootless.engine.attach import attach

        return attach(store, container.id, interactive, detach_keys, sig_proxy)
    request = CreateRequest.from_plain(loads(container.request))
    launcher = _existing(store, container, tell)
    if request.tty:
        return _follow_child(store, launcher, interactive, detach_keys, sig_proxy)
    return _be_monitor(store, launcher, interactive, sig_proxy)


# How a container comes to run


def _new(store: Store, request: CreateRequest, tell: Tell) -> Launcher:
    mode, options = networking.parse_mode(request.network)

    def launch() -> tuple[Starter, int, bool]:
        starter = Starter(store, mode, request.interactive, request.tty)
        draft = None
        try:
            draft = create.settle(store, request)
            create.write(store, draft, myself())
            step("written")
            create.make_directory(store, draft)
            step("directory")
            starter.launch(
                draft.id, draft.config, draft.image.diff_ids, request, request.name or "", options, draft.ports
            )
            log = open_log(store, draft.id, request)
            for warning in starter.execute(draft.ports):
                tell(warning)
        except BaseException as error:
            starter.abort()
            if draft is not None and request.rm:
                cleanup.remove_container(store, draft.id, True)
            elif draft is not None:
                _record_failure(store, draft.id, records.CREATED, error)
            raise
        return starter, log, request.rm

    return launch


def _existing(store: Store, container: Container, tell: Tell) -> Launcher:
    network = loads(container.network)
    request = CreateRequest.from_plain(loads(container.request))

    def launch() -> tuple[Starter, int, bool]:
        from rootless.errors import ConflictError

        starter = Starter(store, network["mode"], request.interactive, request.tty)
        before = container.state
        try:
            pid, start, boot = myself()
            if not records.update_if(store.db, container, monitor_pid=pid, monitor_start=start, boot_id=boot):
                raise ConflictError(f"starting {container.name}: somebody else has just started or removed it")
        except BaseException:
            starter.abort()
            raise
        try:
            config = read_config(store.layout.container(container.id))
            ports = _ports_again(container)
            layers = records.layers_of(store.db, container.id)
            starter.launch(container.id, config, layers, request, container.name, network.get("options", ""), ports)
            log = open_log(store, container.id, request)
            for warning in starter.execute(ports):
                tell(warning)
        except BaseException as error:
            starter.abort()
            _record_failure(store, container.id, before, error)
            raise
        return starter, log, bool(container.auto_remove)

    return launch


def _startable(store: Store, reference: str) -> Container:
    from rootless.engine.recover import find
    from rootless.errors import ConflictError

    container = find(store, reference)
    if container.state in (records.REMOVING, records.PAUSED):
        raise ConflictError(f"starting {container.name}: it is {container.state}")
    return container


def _ports_again(container: Container) -> list[Any]:
    """The ports that it published when it was made; they must be free again."""
    plain = loads(container.ports)
    if not plain:
        return []
    from network.ports import check_free, from_plain

    return check_free([from_plain(port) for port in plain])


def _record_failure(store: Store, container_id: str, state: str, error: BaseException) -> None:
    records.update(
        store.db,
        container_id,
        state=state,
        error=str(error) or type(error).__name__,
        exit_code=getattr(error, "exit_code", 125),
        pid=0,
        pid_start=0,
        started=0,
        monitor_pid=0,
        monitor_start=0,
    )


# Who stays with it


def _be_monitor(store: Store, launcher: Launcher, local_input: bool, sig_proxy: bool) -> int:
    from rootless.engine.monitor.finish import finish

    starter, log, auto_remove = launcher()
    state = starter.monitor_state(auto_remove, log, local_input, [])
    monitor = Monitor(state, True, lambda state, code: finish(state, code, store))
    if sig_proxy:
        monitor.proxy_signals()
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
    (pid, start time, boot id) of its pid 1."""

    def launch() -> tuple[dict[str, Any], Any]:
        store.forget()  # here: closing it while nobody else has it open would write the log back and fsync
        starter, log, auto_remove = launcher()
        state = starter.monitor_state(auto_remove, log, False, clients)
        return state, (starter.identity, (starter.pid, start_time(starter.pid) or 0, boot_id()))

    container_id, process = fork_monitor(launch, clients)
    return container_id, process
