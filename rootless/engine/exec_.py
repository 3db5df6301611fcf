"""`exec`: another process in a running container, a child of the command that asked for it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import stat

import rootless
from rootless.engine.bundle import GROUPS, read_config
from rootless.engine.events import container_event
from rootless.engine.exec_sessions import Session
from rootless.engine.recover import find, need_here
from rootless.errors import ConflictError
from rootless.jsontext import loads
from rootless.kernel.pidfd import open_if_same, start_time
from rootless.runtime.enter import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless.engine.records import Container
    from rootless.engine.start import Tell
    from rootless.runtime.enter import Entered
    from storage.store import Store


class ExecRequest:
    """What to run. `env`: NAME=VALUE, or NAME alone; `user`, `workdir`: None for those of the container; `preserve`:
    numbers of descriptors of ours that it gets too."""

    __slots__ = ("command", "env", "env_file", "interactive", "preserve", "privileged", "tty", "user", "workdir")

    def __init__(
        self,
        command: list[str],
        env: list[str] | None = None,
        env_file: list[str] | None = None,
        interactive: bool = False,
        privileged: bool = False,
        tty: bool = False,
        user: str | None = None,
        workdir: str | None = None,
        preserve: list[int] | None = None,
    ) -> None:
        self.command = command
        self.env = env or []
        self.env_file = env_file or []
        self.interactive = interactive
        self.privileged = privileged
        self.tty = tty
        self.user = user
        self.workdir = workdir
        self.preserve = preserve or []


def exec_foreground(
    store: Store, reference: str, request: ExecRequest, tell: Tell, detach_keys: str | None = None
) -> int:
    """Run a command in a container and stay until it ends; its exit code (0 where the user has detached).

    `tell` is given warnings. Raises NotFoundError, ConflictError where the container does not run, CommandNotFoundError
    (127), CannotInvokeError (126).
    """
    target = Target(store, reference, request)
    if request.tty:
        return _exec_on_terminal(store, target, request, tell, detach_keys)
    # What a container may hold of ours is a pipe or /dev/null. A terminal it could read, a file it could open anew.
    wanted = (0, 1, 2) if request.interactive else (1, 2)
    # Users other than root can open only a pipe that is theirs as /dev/stdout. Ours stay ours: others hold them too.
    shared = [fd for fd in wanted if _is_harmless(fd)] if target.is_root else []
    stdio: list[int | None] = [None, None, None]
    ours = {0: -1, 1: -1, 2: -1}
    for fd in wanted:
        if fd in shared:
            stdio[fd] = fd
        elif fd == 0:
            stdio[0], ours[0] = os.pipe2(os.O_CLOEXEC)
        else:
            ours[fd], stdio[fd] = os.pipe2(os.O_CLOEXEC)
    from rootless.engine.monitor.signals import PROXIED

    # The command may show signs of life before `Monitor.run` lets signals in: one that answers them waits till then.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, PROXIED)
    try:
        entered, session = _enter_noted(store, target, request, stdio, True, shared)
    except BaseException:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, PROXIED)
        raise
    for fd, end in enumerate(stdio):
        if end is not None and end != fd:
            os.close(end)
    _pause_too(store, target.container, entered.pid)
    container_event(store, target.container, "exec")
    for warning in entered.warnings:
        tell(warning)
    code = _watch(entered, ours)
    session.forget()
    container_event(store, target.container, "exec_died", exit=code)
    return code


def exec_detached(store: Store, reference: str, request: ExecRequest) -> str:
    """Run a command in a container and leave it; the id of the session. Raises as `exec_foreground`.

    A child stays behind as its parent: a container whose process nobody reaps could not end.
    """
    from rootless.engine.handover import fork_monitor

    target = Target(store, reference, request)

    def launch() -> tuple[dict[str, Any], tuple[str, int]]:
        entered, session = _enter_noted(store, target, request, [None, None, None], False)
        container_event(store, target.container, "exec")
        # What nobody sees of a terminal is read all the same: it hangs up when its other end is closed.
        terminal = -1 if entered.terminal is None else entered.terminal
        state = _state(entered, {0: terminal, 1: terminal, 2: -1}, request.tty, [])
        return {**state, **_noted(store, target, session)}, (session.identity, entered.pid)

    identity: str
    identity, pid = fork_monitor(launch, [])
    _pause_too(store, target.container, pid)
    return identity


def _pause_too(store: Store, container: Container, pid: int) -> None:
    """Somebody may have paused the container in the moment in which the command came in."""
    row = store.db.execute("SELECT state FROM containers WHERE id = ?", (container.id,)).fetchone()
    if row is not None and row[0] == "paused":
        from rootless.engine.pause import join

        join(store, container, pid, start_time(pid) or 0)


def _enter_noted(
    store: Store,
    target: Target,
    request: ExecRequest,
    stdio: list[int | None],
    die_with_caller: bool,
    foreign: Sequence[int] = (),
) -> tuple[Entered, Session]:
    """Run the command as a session that `inspect` shows."""
    session = Session(store, target.container, {"Command": request.command, "User": target.user, "Tty": request.tty})
    try:
        return target.enter(stdio, die_with_caller, foreign, request.preserve), session
    except BaseException:
        session.forget()
        raise


def _noted(store: Store, target: Target, session: Session) -> dict[str, Any]:
    """What the monitor of a command that outlives us has to know beside `_state`."""
    container = target.container
    about = {"id": container.id, "name": container.name, "image": container.image_name}
    about["labels"] = loads(container.labels)
    return {"id": container.id, "root": store.root, "held": session.held, "session": session.path, "container": about}


class Target:
    """The process object for an exec, and where it goes."""

    def __init__(self, store: Store, reference: str, request: ExecRequest) -> None:
        container = find(store, reference)
        self.container = container
        self.interactive = request.interactive
        self.pidfd = -1
        pidfd = None
        need_here(container, "running a command in")
        if container.state == "paused":
            why = "it is paused, and so would be the command"
            raise ConflictError(f"running a command in {container.name}: {why}", f"rootless unpause {container.name}")
        if container.alive and container.state != "initialized":  # also while `stop` waits for its end
            pidfd = open_if_same(container.pid, container.pid_start, container.boot_id)
        if pidfd is None:
            ended = container.alive and container.state != "initialized"
            why = "it has just ended" if ended else f"it is not running ({container.state})"
            raise ConflictError(f"running a command in {container.name}: {why}", f"rootless start {container.name}")
        self.pidfd = pidfd
        config = read_config(store.layout.container(container.id))
        self.groups: str = config["annotations"].get(GROUPS, "")
        process = config["process"]
        if '"secret"' in container.request:
            from rootless.engine.spec import secrets

            given = loads(container.request)["secret"]
            process = secrets.with_variables(process, store.layout.container(container.id), given)
        self.process = _process(process, request)
        self.user = request.user
        if self.user is None:
            self.user = loads(container.request).get("user") or ""
        self.is_root = self.user.partition(":")[0] in ("", "0", "root")
        self.seccomp = None
        self.keys_refused = False
        if not request.privileged:
            from rootless.engine.spec.seccomp import refuses_keys, seccomp_filter

            self.seccomp = seccomp_filter(store, config)
            self.keys_refused = refuses_keys(config)

    def enter(
        self,
        stdio: list[int | None],
        die_with_caller: bool,
        foreign: Sequence[int] = (),
        preserve: Sequence[int] = (),
    ) -> Entered:
        if rootless.debug:
            command, user = self.process["args"], self.user or "root"
            rootless.debug(f"joining the namespaces of pid {self.container.pid}; command: {command} as {user}")
        group, attach = self.container.cgroup, None
        if group:
            from rootless.engine.cgroups import way_in

            group, attach = way_in(self.container)
        entered = enter(
            self.container.pid,
            self.pidfd,
            self.process,
            user=self.user,
            stdio=stdio,
            seccomp=self.seccomp,
            keys_refused=self.keys_refused,
            die_with_caller=die_with_caller,
            foreign=foreign,
            groups=self.groups,
            preserve_fds=preserve,
            cgroup=group,
            attach=attach,
        )
        os.close(self.pidfd)
        return entered


def _process(of_container: dict[str, Any], request: ExecRequest) -> dict[str, Any]:
    from rootless.engine.spec.config import all_capabilities

    process = dict(of_container)
    process["args"] = request.command
    process["terminal"] = request.tty
    if request.workdir is not None:
        process["cwd"] = request.workdir
    if request.privileged:
        names = all_capabilities()
        process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    if request.env or request.env_file or request.tty:
        from rootless.engine.spec.environment import resolve

        lines = [*process["env"], *(["TERM=xterm"] if request.tty else []), *resolve(request.env, request.env_file)]
        process["env"] = [f"{name}={value}" for name, value in dict(line.split("=", 1) for line in lines).items()]
    return process


def _is_harmless(fd: int) -> bool:
    """Whether it is a pipe without a name, or /dev/null. A fifo is a file of ours: the container's root, as whom we are
    seen in there, could change its owner and its mode. One that does not wait is no pipe that programs expect."""
    try:
        found = os.fstat(fd)
        if stat.S_ISFIFO(found.st_mode):
            return os.get_blocking(fd) and os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)


def _state(entered: Entered, ours: dict[int, int], tty: bool, clients: list[int]) -> dict[str, Any]:
    """As `Starter.monitor_state`, for a process that leaves no record."""
    return {
        "pid": entered.pid,
        "pidfd": entered.pidfd,
        "userns_fd": -1,
        "tty": tty,
        "output": ours[1],
        "error": ours[2],
        "input": ours[0],
        "local_input": True,
        "log": -1,
        "server": -1,
        "held": -1,
        "clients": clients,
        "helper": None,
        "rootfs": -1,
    }


def _watch(entered: Entered, ours: dict[int, int]) -> int:
    from rootless.engine.monitor.loop import Monitor

    monitor = Monitor(_state(entered, ours, False, []), local=True)
    monitor.proxy_signals()
    return monitor.run()


def _exec_on_terminal(store: Store, target: Target, request: ExecRequest, tell: Tell, detach_keys: str | None) -> int:
    """A child becomes the parent of the command, so that it goes on when the user detaches."""
    import _socket

    from rootless.engine.attach import Attachment, parse_detach_keys
    from rootless.engine.handover import fork_monitor
    from rootless.kernel.terminal import size_of_ours

    keys = parse_detach_keys(detach_keys)
    size = size_of_ours()
    if size is not None:
        target.process["consoleSize"] = {"height": size[0], "width": size[1]}
    ours, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    theirs = other.detach()

    def launch() -> tuple[dict[str, Any], Any]:
        entered, session = _enter_noted(store, target, request, [None, None, None], False)
        container_event(store, target.container, "exec")
        for warning in entered.warnings:
            tell(warning)
        assert entered.terminal is not None
        ends = {0: entered.terminal, 1: entered.terminal, 2: -1}
        state = _state(entered, ends, True, [theirs])
        return {**state, **_noted(store, target, session)}, _identity(entered.pid, target.container)

    process = fork_monitor(launch, [theirs])
    _pause_too(store, target.container, process[0])
    return Attachment(ours, process, target.interactive, True, keys, False).follow()


def _identity(pid: int, container: Container) -> tuple[int, int, str]:
    return pid, start_time(pid) or 0, container.boot_id
