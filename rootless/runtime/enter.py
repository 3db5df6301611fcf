"""Another process in a running container.

    caller --clone--> door --setns, clone(CLONE_PARENT)--> the process, a child of the caller

The door joins all namespaces of the container through its pidfd; the pid namespace holds from its next child on. That
child is seen by a container that we do not trust while it is still ours: it cannot be traced (it is not dumpable, and
its memory belongs to the host's user namespace), it holds no descriptor but those for the container, and it cannot
import. What it reads in there, it reads as data.
"""

from __future__ import annotations

import gc
import os

from rootless.errors import ConflictError, KernelError
from rootless.faults import step
from rootless.kernel.clone import CLONE_PARENT, clone, clone_into
from rootless.kernel.namespaces import CLONE_NEWUSER, KINDS, namespace_id, setns
from rootless.kernel.pidfd import wait_exit
from rootless.kernel.process import set_dumpable, set_parent_death_signal
from rootless.runtime.channel import Channel, describe_error, pair, restore_error
from rootless.runtime.credentials import apply_limits, become_user, give_up_privileges, load_seccomp
from rootless.runtime.execute import execute, program_of
from rootless.runtime.inheritance import (
    arrange_descriptors,
    become_root_inside,
    forget_signals,
    other_end_closed,
    seal_imports,
    use_own_null,
)
from rootless.runtime.reentry import interpreter_is_exposed, move_into_copy
from rootless.runtime.users import KEEP_GROUPS, resolve_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

_SIGKILL = 9
_LAST_MOMENTS = 200  # ms between a process losing its namespaces and its end


class Entered:
    """A process in the container: `pid` (the host's number) is a child of the caller, `pidfd` a descriptor of it,
    `terminal` the master of its terminal or None, `warnings` what was done otherwise than asked."""

    __slots__ = ("pid", "pidfd", "terminal", "warnings")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.terminal: int | None = None
        self.warnings: list[str] = []


def enter(
    pid: int,
    pidfd: int,
    process: dict[str, Any],
    *,
    user: str | None = None,
    stdio: list[int | None] | None = None,
    seccomp: bytes | None = None,
    keys_refused: bool = False,
    preserve_fds: Sequence[int] = (),
    die_with_caller: bool = True,
    foreign: Sequence[int] = (),
    groups: str = "",
    cgroup: str = "",
    attach: Callable[[int], None] | None = None,
) -> Entered:
    """Run an OCI process object in the container whose pid 1 is `pid` and `pidfd`; returns once its program runs.

    `user`, `stdio`, `seccomp`, `keys_refused` and `preserve_fds` are as in a launch plan (see Launch.send); with
    process["terminal"] it gets a terminal of the container's own. `foreign`: which of 0, 1, 2 the caller shares with
    others, so that they do not become the container's user's. `groups`: names of more groups, or KEEP_GROUPS. `cgroup`:
    the directory of the control group that it starts in, "" for ours; or `attach` is given the door's pid to move it.

    The caller has one thread. Raises CommandNotFoundError (127), CannotInvokeError (126), ConflictError where the
    container does not run, or RootlessError.
    """
    order = {
        "pidfd": pidfd,
        "flags": _foreign_namespaces(pid, pidfd),
        "process": process,
        "user": user,
        "stdio": stdio or [0, 1, 2],
        "seccomp": seccomp,
        "keys_refused": keys_refused,
        "preserve_fds": list(preserve_fds),
        "die_with_caller": die_with_caller,
        "foreign": list(foreign),
        "groups": groups,
        "exposed": interpreter_is_exposed(),
        "waits": attach is not None,
    }
    ours, theirs = pair()
    try:
        door, door_fd = clone_into(cgroup, 0)
    except KernelError as error:
        ours.close()
        theirs.close()
        _refuse_ended(pidfd, error)  # its control group goes first
        raise
    if door == 0:
        ours.close()
        _pass_through(theirs, order)
    theirs.close()
    os.close(door_fd)
    try:
        if attach is not None:
            attach(door)
            ours.send("go")
        return _await(ours)
    except KernelError as error:  # setns, clone, /proc: nothing works once it has ended
        _refuse_ended(pidfd, error)
        raise
    finally:
        ours.close()
        os.waitpid(door, 0)


def _refuse_ended(pidfd: int, cause: KernelError) -> None:
    """Raise ConflictError where the container has ended, or is just about to."""
    if wait_exit(pidfd, _LAST_MOMENTS):
        raise ConflictError("entering the container: it is not running any more") from cause


def _await(channel: Channel) -> Entered:
    """Follow what door and child tell until the child's program runs. Raises what they raised."""
    entered: Entered | None = None
    try:
        while True:
            try:
                kind, value, fd = channel.receive()
                if kind == "child":
                    assert fd is not None
                    entered = Entered(value, fd)
                    channel.send("go")
                elif kind == "prepared" and entered is not None:
                    entered.warnings, entered.terminal = value, fd
                elif kind == "error":
                    raise restore_error(value)
            except (EOFError, BrokenPipeError, ConnectionResetError):  # its program runs, or the container has ended
                break
        if entered is None:
            raise KernelError("entering the container: the process that does it was ended")
        return entered
    except BaseException:
        if entered is not None:
            _discard(entered)
        raise


def _discard(entered: Entered) -> None:
    os.kill(entered.pid, _SIGKILL)  # our child, not yet waited for
    os.waitpid(entered.pid, 0)
    os.close(entered.pidfd)
    if entered.terminal is not None:
        os.close(entered.terminal)


def _foreign_namespaces(pid: int, pidfd: int) -> int:
    """CLONE_NEW* of the namespaces that the container does not share with us. Raises ConflictError when it is gone."""
    flags = 0
    try:
        for kind, flag in KINDS.items():
            if namespace_id(pid, kind) != namespace_id("self", kind):
                flags |= flag
    except PermissionError:  # started from a user namespace that ours lies beside, or below
        raise ConflictError(
            "entering the container: it was started outside of the user namespace that we are in",
            "do that there: outside of `rootless unshare`, or of the container around us",
        ) from None
    except OSError:
        raise ConflictError("entering the container: it is not running") from None
    # The number may be somebody else's by now; what counts is that the process of the descriptor still lives.
    if wait_exit(pidfd, 0):
        raise ConflictError("entering the container: it is not running")
    return flags


def _pass_through(channel: Channel, order: dict[str, Any]) -> NoReturn:
    """The life of the door, and of the child that comes out behind it; neither returns."""
    try:
        try:
            gc.disable()
            set_parent_death_signal(_SIGKILL)
            forget_signals()
            set_dumpable(False)
            if order["waits"]:
                channel.receive()
                order["waits"] = False
            if order["process"].get("terminal"):
                from rootless.runtime import console  # noqa: F401  inside, nothing can be imported any more
            if order["flags"] & CLONE_NEWUSER and order["exposed"]:
                _move_into_copy(channel, order)
            apply_limits(order["process"])
            seal_imports()
            setns(order["pidfd"], order["flags"])
            step("door-inside")
            single = become_root_inside(order["groups"] == KEEP_GROUPS)
            arrange_descriptors(channel, order["stdio"], order["preserve_fds"])
            child, child_fd = clone(CLONE_PARENT)
            if child:
                channel.send("child", child, child_fd)
                os._exit(0)
            # The caller must know of us before anything can fail: a dead child that nobody waits for would keep the
            # container's pid 1 from ending.
            channel.receive()
            step("exec-inside")
            _become(channel, order, single)
        except (EOFError, BrokenPipeError):  # the caller is gone
            pass
        except BaseException as error:
            channel.send("error", describe_error(error))
    finally:
        os._exit(1)


def _move_into_copy(channel: Channel, order: dict[str, Any]) -> None:
    """Root of the user namespace alone, still among the host's files, for the copy has to load its library."""
    setns(order["pidfd"], CLONE_NEWUSER)
    become_root_inside(order["groups"] == KEEP_GROUPS)
    kept = [fd for fd in (order["pidfd"], *order["stdio"], *order["preserve_fds"]) if fd is not None]
    order = {**order, "flags": order["flags"] & ~CLONE_NEWUSER, "exposed": False}
    move_into_copy(_pass_through, channel, kept, order)


def _become(channel: Channel, order: dict[str, Any], single: bool) -> None:
    process: dict[str, Any] = order["process"]
    seccomp: bytes | None = order["seccomp"]
    os.setsid()
    use_own_null(order["stdio"])
    kept = order["groups"] == KEEP_GROUPS
    found = resolve_user(order["user"], process, "" if kept else order["groups"])
    console = None
    if process.get("terminal"):
        from rootless.runtime.console import Console

        devpts = os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        console = Console(devpts, process.get("consoleSize"))
        os.close(devpts)
        console.attach(found.uid)
    warnings = become_user(process, found, single, order["foreign"], order["keys_refused"], kept)
    program = program_of(process, found)
    channel.send("prepared", warnings, console.master if console is not None else None)
    if console is not None:
        os.close(console.master)
    give_up_privileges(process, seccomp is not None)
    if order["die_with_caller"]:
        set_parent_death_signal(_SIGKILL)
        if other_end_closed(channel):
            return
    load_seccomp(seccomp)
    execute(program)
