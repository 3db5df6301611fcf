"""Pid 1 from its clone to the exec of the container's program.

All imports happen before the root file system is entered: afterwards a path means what the image says it means, and an
import would run the image's code with what is still open. `seal_imports` makes that impossible rather than unlikely.
"""

from __future__ import annotations

import errno
import gc
import os

from rootless.errors import RootlessError
from rootless.faults import step
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import MS_REC, MS_SLAVE, mount
from rootless.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    remedy,
    set_domainname,
    set_hostname,
    setns,
    unshare,
)
from rootless.kernel.process import set_dumpable, set_parent_death_signal, set_personality
from rootless.runtime.channel import describe_error
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
from rootless.runtime.loopback import bring_up_loopback, let_root_ping
from rootless.runtime.reentry import function_of, move_into_copy, name_of
from rootless.runtime.rootfs import Assembly
from rootless.runtime.users import KEEP_GROUPS, resolve_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from rootless.runtime.channel import Channel
    from rootless.runtime.launch import MountRootfs, PrepareNetwork

_SIGKILL = 9


def become_container(
    channel: Channel, flags: int, mount_rootfs: MountRootfs | None, prepare_network: PrepareNetwork | None
) -> NoReturn:
    """The child's whole life on our side of the exec; never returns. Errors travel through the channel."""
    try:
        try:
            gc.disable()  # it would touch, and so copy, every page that is still shared with the monitor
            set_parent_death_signal(_SIGKILL)
            forget_signals()
            os.setsid()
            _leave_namespaces(flags, prepare_network)
            step("init-apart")
            channel.send("namespaces")
            _, plan, _ = channel.receive()
            step("init-told")
            if plan["exposed"]:
                _move_into_copy(channel, flags, mount_rootfs, plan)
            _become(channel, flags, mount_rootfs, plan)
        except (EOFError, BrokenPipeError):  # the monitor is gone: nobody wants this container
            pass
        except BaseException as error:
            channel.send("error", describe_error(_with_remedy(error)))
    finally:
        os._exit(1)


def _move_into_copy(channel: Channel, flags: int, mount_rootfs: MountRootfs | None, plan: dict[str, Any]) -> None:
    become_root_inside(keep_groups=plan.get("groups") == KEEP_GROUPS)
    set_parent_death_signal(_SIGKILL)
    mounter = None if mount_rootfs is None else name_of(mount_rootfs)
    kept = [fd for fd in plan.get("stdio") or [0, 1, 2] if fd is not None]
    kept += plan.get("preserve_fds") or ()
    move_into_copy(resume_becoming, channel, kept, flags, mounter, plan)


def resume_becoming(channel: Channel, flags: int, mounter: str | None, plan: dict[str, Any]) -> NoReturn:
    """What `become_container` does from the plan on, in the copy of the interpreter."""
    try:
        try:
            gc.disable()
            forget_signals()
            _become(channel, flags, None if mounter is None else function_of(mounter), plan)
        except (EOFError, BrokenPipeError):
            pass
        except BaseException as error:
            channel.send("error", describe_error(_with_remedy(error)))
    finally:
        os._exit(1)


def _with_remedy(error: BaseException) -> BaseException:
    """In namespaces of our own we may do all of this: where we may not, something takes their rights away."""
    if isinstance(error, SyscallError) and error.errno in (errno.EPERM, errno.EACCES) and not error.hint:
        error.hint = remedy(errno.EPERM)
    return error


def _leave_namespaces(flags: int, prepare_network: PrepareNetwork | None) -> None:
    # The network namespace is the dear one (0.4 ms): made here, not in the clone, where the monitor would wait for it.
    # The cgroup namespace comes later: its root is the cgroup that one is in by then.
    try:
        unshare(flags & ~(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWTIME))
    except SyscallError as error:
        error.hint = "AppArmor may give user namespaces without rights: `rootless doctor` says so, and the remedy"
        raise
    if flags & CLONE_NEWNET:
        bring_up_loopback()
        if prepare_network is not None:
            prepare_network()
    if not flags & CLONE_NEWUSER:
        mount(None, "/", None, MS_REC | MS_SLAVE)  # a new user namespace does so by itself


def _become(channel: Channel, flags: int, mount_rootfs: MountRootfs | None, plan: dict[str, Any]) -> None:
    config = plan["config"]
    process = config["process"]
    single = become_root_inside(keep_groups=plan.get("groups") == KEEP_GROUPS)
    set_dumpable(True)
    set_parent_death_signal(_SIGKILL)
    stdio = plan.get("stdio") or [0, 1, 2]
    arrange_descriptors(channel, stdio, plan.get("preserve_fds") or ())
    os.umask(0)
    if flags & CLONE_NEWNET:
        let_root_ping()
    if flags & CLONE_NEWCGROUP:
        unshare(CLONE_NEWCGROUP)
    if flags & CLONE_NEWTIME:
        _enter_time_namespace(config.get("linux", {}).get("timeOffsets") or {})
    if config.get("hostname") and flags & CLONE_NEWUTS:
        set_hostname(config["hostname"])
    if config.get("domainname"):
        set_domainname(config["domainname"])

    assembly = Assembly(plan)
    if mount_rootfs is not None and plan.get("rootfs") is not None:
        mount_rootfs(plan["rootfs"], assembly.target)
        for image, place in plan.get("images") or ():
            mount_rootfs(image, place)
    assembly.build(plan.get("accounts"))
    step("init-mounted")
    apply_limits(process)
    personality = (config.get("linux") or {}).get("personality")
    if personality:
        set_personality(personality["domain"])
    console = assembly.open_console() if process.get("terminal") else None
    seal_imports()
    assembly.enter()
    use_own_null(stdio)

    groups = plan.get("groups") or ""
    kept = groups == KEEP_GROUPS
    user = resolve_user(plan.get("user"), process, "" if kept else groups)
    assembly.give(user.uid, user.gid)
    if console is not None:
        console.attach(user.uid)
    assembly.warnings += become_user(process, user, single, (), bool(plan.get("keys_refused")), kept)
    set_dumpable(True)  # lost with the change of user; the network helper opens our namespaces through /proc meanwhile
    program = program_of(process, user, assembly.init)
    give_up_privileges(process, plan.get("seccomp") is not None)
    channel.send("prepared", assembly.warnings, console.master if console is not None else None)
    if console is not None:
        os.close(console.master)
    step("init-prepared")
    channel.receive()
    step("init-executing")
    set_parent_death_signal(_SIGKILL)  # the kernel forgot it with the change of user
    if other_end_closed(channel):
        return
    load_seccomp(plan.get("seccomp"))
    execute(program)


def _enter_time_namespace(offsets: dict[str, Any]) -> None:
    unshare(CLONE_NEWTIME)
    lines = [f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in offsets.items()]
    try:
        if lines:
            fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, "".join(lines).encode())
            os.close(fd)
        # unshare moves children only; entering moves us.
        fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RootlessError(f"setting the time namespace's offsets: {error.strerror}") from None
    setns(fd, CLONE_NEWTIME)
    os.close(fd)
