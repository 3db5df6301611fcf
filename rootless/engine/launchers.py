"""How a container comes to run: a new one, or one that was made before.

The process that becomes pid 1 is cloned first; what is needed to make the container is imported and done beside that.
"""

from __future__ import annotations

import os

from rootless.engine import cgroups, networking
from rootless.engine.logplace import PASSTHROUGH, open_log
from rootless.engine.names import new_id
from rootless.engine.start import Starter
from rootless.errors import RootlessError
from rootless.faults import step
from rootless.kernel.pidfd import myself
from storage.layers.names import layer_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.records import Container
    from rootless.engine.request import CreateRequest
    from storage.store import Store

    Tell = Callable[[str], None]
    # Makes the container run and returns its starter, its log and whether it is to be removed at its end.
    Launcher = Callable[[], tuple[Starter, int, bool]]


def new_container(
    store: Store, request: CreateRequest, tell: Tell, attached: bool = False, preserve: list[int] | None = None
) -> Launcher:
    """What makes a container of a request and runs it; `attached`: somebody follows it from the start on; `preserve`:
    numbers of the caller's descriptors that it gets too.

    Raises UsageError for a network that is none.
    """
    mode, options = networking.parse_mode(request.network)
    shared = _shared_namespaces(request)

    def launch() -> tuple[Starter, int, bool]:
        container_id = new_id()
        group = cgroups.begin(request, container_id)
        starter = Starter(store, mode, request.interactive, request.tty, _takes_streams(request), shared, group)
        starter.preserve = preserve or []
        if store.user_map.single:
            from rootless.engine.one_id import warn_of_one_id

            warn_of_one_id(store, tell)
        from rootless.engine import cleanup, create

        draft = None
        whole = False
        try:
            draft = create.settle(store, request, container_id)
            if request.replace:
                from rootless.engine.lifespan import replace

                replace(store, request, tell)
                if draft.ports:  # which the other may have had
                    from network.ports import check_free

                    draft.ports = check_free(draft.ports)
            create.write(store, draft, myself())
            step("written")
            starter.held = create.make_directory(store, draft)
            whole = True
            step("directory")
            starter.launch(
                draft.id, draft.driver, draft.config, draft.layers, request, request.name or "", options, draft.ports
            )
            log = _execute(store, starter, request, draft.ports, tell)
            create.note(store, draft, "start")
            if attached:
                create.note(store, draft, "attach")
        except BaseException as error:
            starter.abort()
            try:
                if draft is not None and (request.rm or not whole):
                    cleanup.remove_container(store, draft.id, True)
                elif draft is not None:
                    _record_failure(store, draft.id, error)
            except (RootlessError, OSError):
                pass  # it stands in the way of this too; what is to be told is why there is no container
            raise
        return starter, log, request.rm

    return launch


def existing_container(
    store: Store,
    container: Container,
    tell: Tell,
    again: bool = False,
    attached: bool = False,
    wait: Callable[[Starter], None] | None = None,
) -> Launcher:
    """What runs a container that does not run now; it raises OvertakenError where another starts or removes it.

    `again`: it is its restart policy that starts it; `attached`: somebody follows it from the start on. `wait` is
    called once it is prepared, and its program runs when that returns."""
    from rootless.engine.request import CreateRequest
    from rootless.jsontext import loads

    network = loads(container.network)
    request = CreateRequest.from_plain(loads(container.request))
    shared = _shared_namespaces(request)

    def launch() -> tuple[Starter, int, bool]:
        streams = _takes_streams(request)
        group = cgroups.begin(request, container.id)
        starter = Starter(store, network["mode"], request.interactive, request.tty, streams, shared, group)
        from rootless.engine import records
        from rootless.engine.bundle import hold, read_config
        from rootless.engine.events import container_event
        from rootless.errors import OvertakenError

        ended = container.state == records.EXITED
        last = (container.started, container.finished, container.exit_code) if ended else None
        try:
            starter.held = hold(store.layout.container(container.id))
            pid, start, realm = myself()
            by = {} if again else {"restarts": 0, "stopped": 0}
            if not records.update_if(store.db, container, monitor_pid=pid, monitor_start=start, boot_id=realm, **by):
                raise OvertakenError(f"starting {container.name}: somebody else has just started or removed it")
        except BaseException:
            starter.abort()
            raise
        try:
            directory = store.layout.container(container.id)
            if os.path.lexists(f"{directory}/mounted"):
                from rootless.engine.files.mount_marks import refuse_mounted

                refuse_mounted(store, directory, container.name, "starting")
            config = read_config(directory)
            ports = _ports_again(container)
            layers = layer_names(store, records.layers_of(store.db, container.id))
            options = network.get("options", "")
            starter.launch(container.id, container.driver, config, layers, request, container.name, options, ports)
            log = _execute(store, starter, request, ports, tell, wait)
            container_event(store, container, "start")
            if again:
                container_event(store, container, "restart")
            if attached:
                container_event(store, container, "attach")
        except BaseException as error:
            starter.abort()
            try:
                _record_failure(store, container.id, error, last)
            except (RootlessError, OSError):
                pass  # a full disk, say: what is to be told is why it does not run; the next look forgets us
            raise
        return starter, log, bool(container.auto_remove)

    return launch


def _execute(
    store: Store,
    starter: Starter,
    request: CreateRequest,
    ports: list[Any],
    tell: Tell,
    wait: Callable[[Starter], None] | None = None,
) -> int:
    """Let the program of a container run for which pid 1 is on its way; the descriptor of its log, or -1."""
    log = open_log(store, starter.identity, request)
    starter.logging = _sink_plan(store, starter.identity, request)
    if request.pidfile or request.conmon_pidfile:
        from rootless.engine.id_files import write_pid_files

        write_pid_files(request, starter.pid)
    if wait is not None:
        wait(starter)
    for warning in starter.execute(ports):
        tell(warning)
    return log


def _shared_namespaces(request: CreateRequest) -> int:
    if not (request.ipc or request.uts or request.cgroupns or request.pid):
        return 0
    from rootless.engine.spec.particulars import shared_namespaces

    return shared_namespaces(request)


def _takes_streams(request: CreateRequest) -> bool:
    """Whether the container has the standard streams of the command that starts it. Raises UsageError where these are
    a terminal and that was not asked for."""
    if request.log_driver not in PASSTHROUGH:
        return False
    from rootless.engine.log_options import check_passthrough

    check_passthrough(request)
    return True


def _sink_plan(store: Store, container_id: str, request: CreateRequest) -> dict[str, Any] | None:
    """What the monitor must know of the log besides its descriptor, in values that marshal takes; None for nothing.

    Raises RootlessError where there is no journal to write to.
    """
    if request.log_driver in (None, "k8s-file", "none", *PASSTHROUGH) and not request.log_opt:
        return None
    from rootless.engine.log_options import plan

    return plan(store, container_id, request)


def _ports_again(container: Container) -> list[Any]:
    """The ports that it published when it was made; they must be free again."""
    from rootless.jsontext import loads

    plain = loads(container.ports)
    if not plain:
        return []
    from network.ports import check_free, from_plain

    return check_free([from_plain(port) for port in plain])


def _record_failure(
    store: Store, container_id: str, error: BaseException, last: tuple[float, float, int] | None = None
) -> None:
    """Note why a container has not started. `last`: when it last started and ended, its exit code: they stay."""
    from rootless.engine import records

    started, finished, exit_code = last or (0, 0, getattr(error, "exit_code", 125))
    records.update(
        store.db,
        container_id,
        state=records.CREATED if last is None else records.EXITED,
        error=str(error) or type(error).__name__,
        exit_code=exit_code,
        pid=0,
        pid_start=0,
        cgroup="",
        started=started,
        finished=finished,
        monitor_pid=0,
        monitor_start=0,
    )
