"""The control group of a container: made before its pid 1, which starts in it, and removed when it has ended.

A container has one where the command that starts it runs in a group that is delegated to the user; without, it runs in
the command's own. Groups are named `rootless-ID.PID` after the container and its monitor: each start has its own, so
whoever mends what a crash left kills no later one. The container's row says which it is.
"""

from __future__ import annotations

import os

from rootless.errors import KernelError, UsageError
from rootless.faults import step
from rootless.kernel import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.records import Container
    from rootless.engine.request import CreateRequest

PREFIX = "rootless-"
IN_SCOPE = ".scope/container"  # how the directory of a group ends that lies in a scope of its own
MODES = ("enabled", "disabled", "no-conmon", "split")


def begin(request: CreateRequest, container_id: str) -> str:
    """Make the group of a container that this process is about to start; its directory, "" where it has none (yet: one
    that is to lie elsewhere is made later).

    Raises UsageError for `--cgroups split` where nothing is delegated.
    """
    if request.cgroups == "disabled" or request.cgroup_parent:
        return ""
    base = cgroups.delegated(cgroups.directory_of())
    if base:
        directory = f"{base}/{name_of(container_id)}"
        try:
            cgroups.make(directory)
        except KernelError:
            if request.cgroups == "split":
                raise
        else:
            step("cgroup-made")
            return directory
    if request.cgroups == "split":
        raise UsageError("--cgroups split: the control group that this command is in is not delegated to you", HINT)
    return ""


HINT = "`rootless doctor` says how to get control groups delegated"


def way_in(container: Container) -> tuple[str, Callable[[int], None] | None]:
    """How a process of ours comes into the group of a container: it starts there; or, where only systemd may move it,
    "" and what has it moved, given its pid. A container with limits must not be entered without."""
    if cgroups.can_join(container.cgroup):
        return container.cgroup, None
    from rootless.engine.cgroups.scope import attach
    from rootless.engine.request import CreateRequest
    from rootless.jsontext import loads

    confined = CreateRequest.from_plain(loads(container.request)).confined
    return "", lambda pid: attach(container.cgroup, pid, confined)


def name_of(container_id: str) -> str:
    """The name of the group for a container that this process is about to start."""
    return f"{PREFIX}{container_id}.{os.getpid()}"


def end(directory: str) -> bool:
    """Remove the group of a container that has ended; whether the kernel had to kill a process in it for memory."""
    killed = cgroups.numbers(directory, "memory.events").get("oom_kill", 0) > 0
    if not remove(directory, 0):
        # What was on its way in, and frozen before it had joined the namespaces, has not ended with them.
        cgroups.kill(directory)
        remove(directory)
    return killed


def remove(directory: str, patience: float = 1.0) -> bool:
    """Remove a group whose processes have ended; whether it is gone. A scope that was made for it goes with it."""
    if not directory.endswith(IN_SCOPE):
        return cgroups.remove(directory, patience)
    from rootless.engine.cgroups.scope import end_scope, release

    release(directory)
    gone = cgroups.remove(directory, patience)
    if gone:
        end_scope(directory)
    return gone


def clear(directory: str) -> None:
    """Kill what is left in the group of a container whose monitor is gone, also what has changed its user, and remove
    it; and the empty groups beside it that killed starts have left."""
    cgroups.kill(directory)
    remove(directory)
    base = directory.rpartition("/")[0]
    try:
        names = os.listdir(base)
    except OSError:
        return
    for name in names:
        if name.startswith(PREFIX) and name != cgroups.LEAF and not os.path.exists(f"/proc/{name.rpartition('.')[2]}"):
            try:
                os.rmdir(f"{base}/{name}")  # one with processes stays
            except OSError:
                pass
