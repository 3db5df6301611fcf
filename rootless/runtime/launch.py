"""The monitor's side of a container's start.

    begin      clone: pid 1 exists, in its own user and pid namespace, and makes its other namespaces by itself
    map_ids    newuidmap and newgidmap start; whatever the caller does now overlaps with them
    send       the maps are in force; pid 1 is told what to become
    wait_prepared   root file system, user, limits, terminal are in place; nothing is left but to execute
    execute    the container's program runs, or the reason why it cannot is raised

Pid 1 is the caller's child from its first moment, so no process in between has to end before it belongs to the monitor,
and its parent-death signal holds throughout.
"""

from __future__ import annotations

import os

from rootless.errors import KernelError, RootlessError
from rootless.kernel.clone import clone_into
from rootless.kernel.idmaps import start_mapping
from rootless.kernel.libc import SyscallError
from rootless.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    open_namespace,
    remedy,
)
from rootless.runtime.channel import Channel, pair, restore_error
from rootless.runtime.reentry import interpreter_is_exposed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.kernel.idmaps import Mapping, UserMap

    MountRootfs = Callable[[Any, str], object]
    PrepareNetwork = Callable[[], object]

_SIGKILL = 9


def begin(
    flags: int,
    mount_rootfs: MountRootfs | None = None,
    prepare_network: PrepareNetwork | None = None,
    group: str = "",
) -> Launch:
    """Start pid 1 of a new container. CLONE_NEW* `flags` say which namespaces are its own; the mount namespace must be.

    `mount_rootfs(plan["rootfs"], target)` is called in it once the plan is there; None where the plan has no "rootfs"
    and config.root.path is a directory. `prepare_network` is called in a new network namespace before anything else may
    join it; `lo` is up by then. Descriptors that the container shall have must be open (and may be
    close-on-exec) before this call. `group`: the directory of the control group that it starts in, "" for ours. The
    caller has one thread. Raises KernelError.
    """
    if not flags & CLONE_NEWNS:
        raise RootlessError("starting a container: it needs a mount namespace of its own")
    ours, theirs = pair()
    try:
        pid, pidfd = clone_into(group, flags & (CLONE_NEWUSER | CLONE_NEWPID))
    except SyscallError as error:
        if error.call == "clone":
            error.hint = remedy(error.errno or 0)
        raise
    if pid == 0:
        ours.close()
        # In the child, while the monitor maps ids: what it needs is imported there, beside newuidmap.
        from rootless.runtime.init import become_container

        become_container(theirs, flags, mount_rootfs, prepare_network)
    theirs.close()
    return Launch(pid, pidfd, ours, flags, mount_rootfs)


class Launch:
    """A container between its first process and its own program. `init_pid` is the host's number of pid 1, `pidfd` a
    descriptor of it, `userns_fd` one of its user namespace (after `send`; -1 where it has none of its own), `warnings`
    what was done otherwise than asked (after `wait_prepared`)."""

    __slots__ = (
        "_channel",
        "_flags",
        "_mapping",
        "_mount_rootfs",
        "_user_map",
        "init_pid",
        "pidfd",
        "userns_fd",
        "warnings",
    )

    def __init__(self, pid: int, pidfd: int, channel: Channel, flags: int, mount_rootfs: MountRootfs | None) -> None:
        self.init_pid = pid
        self.pidfd = pidfd
        self.userns_fd = -1
        self.warnings: list[str] = []
        self._channel = channel
        self._flags = flags
        self._mount_rootfs = mount_rootfs
        self._mapping: Mapping | None = None
        self._user_map: UserMap | None = None

    def map_ids(self, user_map: UserMap) -> None:
        """Begin to map ids; does not wait. Raises KernelError (the launch is then aborted)."""
        self._user_map = user_map
        try:
            self._mapping = start_mapping(self.init_pid, user_map)
        except BaseException:
            self.abort()
            raise

    def send(self, plan: dict[str, Any]) -> None:
        """Wait for the id maps and hand over the plan. Afterwards all namespaces exist: a network helper may join them.

        plan["config"] is an OCI runtime-spec dict. Optional: "rootfs" (for mount_rootfs), "target" (where the root file
        system is mounted; default config.root.path), "images" (pairs for mount_rootfs of what binds have for sources),
        "user" ("name|uid[:group|gid]", resolved in the image; default
        config.process.user), "stdio" (three descriptors, None for /dev/null; default 0, 1, 2), "seccomp" (BPF),
        "groups" (names of more groups, or users.KEEP_GROUPS), "accounts" (runtime.accounts),
        "keys_refused" (whether that refuses all calls for keys), "preserve_fds" (numbers of descriptors that stay
        open), "init" (path of catatonit or tini).
        Raises RootlessError (the launch is then aborted).
        """
        try:
            if self._mapping is not None:
                mapping, self._mapping = self._mapping, None
                mapping.finish()
            self._expect("namespaces")
            if self._flags & CLONE_NEWUSER:
                self.userns_fd = open_namespace(self.init_pid, "user")
            plan = {**plan, "exposed": interpreter_is_exposed()}
            if self._user_map is not None:
                plan["gids"] = self._user_map.gids
            if self._needs_helper(plan):
                from rootless.runtime.outside import mount_from_outside

                mount_from_outside(self.pidfd, self._flags, self._mount_rootfs, plan)
                plan["rootfs"] = plan["images"] = None
            self._channel.send("plan", plan)
        except BaseException as error:
            raise self._failed(error) from None

    @staticmethod
    def _needs_helper(plan: dict[str, Any]) -> bool:
        """A root file system that a process serves: in the container's pid namespace it could be seen and killed."""
        rootfs = plan.get("rootfs")
        return isinstance(rootfs, dict) and rootfs.get("driver") == "fuse-overlayfs"

    def wait_prepared(self) -> int | None:
        """Wait until pid 1 stands right before its exec; the master of the container's terminal, where it has one.

        Raises RootlessError (the launch is then aborted).
        """
        try:
            self.warnings, fd = self._expect("prepared")
        except BaseException as error:
            raise self._failed(error) from None
        return fd

    def execute(self) -> None:
        """Let the container's program run; returns when it does.

        Raises CommandNotFoundError (127), CannotInvokeError (126) or RootlessError; pid 1 has then ended and is reaped.
        """
        try:
            self._channel.send("execute")
            try:
                _, described, _ = self._channel.receive()
            except EOFError:
                return
            raise restore_error(described)
        except BaseException as error:
            raise self._failed(error) from None
        finally:
            self._channel.close()

    def abort(self) -> None:
        """End pid 1 (and with it all that is in its pid namespace) and reap it; harmless when it has ended."""
        self._channel.close()
        if self._mapping is not None:
            try:
                self._mapping.finish()  # its processes are to be reaped, and end by themselves
            except KernelError:
                pass
            self._mapping = None
        if self.init_pid > 0:
            try:
                os.kill(self.init_pid, _SIGKILL)  # our child, not yet waited for: the number is still its own
                os.waitpid(self.init_pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.init_pid = -1
        for fd in (self.pidfd, self.userns_fd):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.userns_fd = -1

    def _expect(self, wanted: str) -> tuple[Any, int | None]:
        kind, value, fd = self._channel.receive()
        if kind == "error":
            raise restore_error(value)
        if kind != wanted:
            raise RootlessError(f"internal error: starting the container: got {kind!r} instead of {wanted!r}")
        return value, fd

    def _failed(self, error: BaseException) -> BaseException:
        """Abort; `error`, or what pid 1 had to say where all we saw was that it is gone."""
        if isinstance(error, EOFError | BrokenPipeError | ConnectionResetError):
            error = self._last_words()
        self.abort()
        return error

    def _last_words(self) -> BaseException:
        try:
            while True:
                kind, value, _ = self._channel.receive()
                if kind == "error":
                    return restore_error(value)
        except (EOFError, OSError):
            pass
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(self.init_pid, 0)[1])
        except ChildProcessError:
            return KernelError("starting the container: its first process vanished")
        self.init_pid = -1
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        return KernelError(f"starting the container: its first process {how} before the command could run")
