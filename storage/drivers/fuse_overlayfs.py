"""fuse-overlayfs: an overlay served by a process, for kernels that refuse theirs to us.

The process must not be seen in the container, and must not keep the container's mount namespace alive (it would live
in it, and it with it, for ever). So it starts in a mount namespace of its own; its mount is cloned, taken away there
and attached in the container's. When that goes, the last mount is gone and the process ends by itself, whatever became
of the monitor.
"""

from __future__ import annotations

import os
import select

from rootless.errors import StorageError
from rootless.kernel.mounts import (
    AT_FDCWD,
    MNT_DETACH,
    MOVE_MOUNT_F_EMPTY_PATH,
    OPEN_TREE_CLONE,
    move_mount,
    open_tree,
    umount,
)
from rootless.kernel.namespaces import CLONE_NEWNS, setns, unshare
from rootless.kernel.pidfd import open_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "fuse-overlayfs"
INSTALL = "install the package fuse-overlayfs"
PID_FILE = "fuse-overlayfs.pid"
_SIGKILL = 9
_STEP_MS = 1000
_LONGEST_MS = 30_000


def serve_stack(plan: dict[str, Any], target: str) -> None:
    """Mount the stack on `target`. The process that serves it becomes a child of the nearest subreaper; its number is
    written to PID_FILE in the container's directory. Raises StorageError with what the program said."""
    theirs = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNS)
        pid = _start(plan, target)
        try:
            tree = open_tree(AT_FDCWD, target, OPEN_TREE_CLONE)
            try:
                umount(target, MNT_DETACH)
                setns(theirs, CLONE_NEWNS)
                move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)
            finally:
                os.close(tree)
        except BaseException:
            _end(pid)
            raise
    finally:
        os.close(theirs)
    if plan["container"] is not None:
        with open(f"{plan['root']}/{plan['container']}/{PID_FILE}", "w") as file:
            file.write(f"{pid}\n")


def _start(plan: dict[str, Any], target: str) -> int:
    """Run the program until its mount stands; its process number."""
    container = plan["container"]
    if ":" in plan["root"]:  # it makes the paths absolute again, and joins and splits them at colons
        raise StorageError(
            f"mounting the layers: {PROGRAM} cannot use a store with a colon in its path: {plan['root']}"
        )
    options = "lowerdir=" + ":".join(plan["lower"])
    if container is not None:
        options += f",upperdir={container}/upper,workdir={container}/work"
    else:
        options += ",ro"
    before = os.stat(target).st_dev
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(plan["root"])  # the paths in the plan are relative to it
        pid = _spawn([PROGRAM, "-f", "-o", options, target], output)
        try:
            _wait_for_mount(pid, mounts, target, before, output)
        except BaseException:
            _end(pid)
            raise
        return pid
    finally:
        os.fchdir(here)
        for fd in (output, mounts, here):
            os.close(fd)


def _spawn(command: list[str], output: int) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    try:
        return os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    except FileNotFoundError:
        raise StorageError(f"mounting the layers: {PROGRAM} is not installed", INSTALL) from None


def _wait_for_mount(pid: int, mounts: int, target: str, before: int, output: int) -> None:
    process = open_pidfd(pid)
    try:
        poll = select.poll()
        poll.register(mounts, select.POLLPRI)
        poll.register(process, select.POLLIN)
        os.read(mounts, 1)
        waited = 0
        while os.stat(target).st_dev == before:
            for fd, _ in poll.poll(_STEP_MS):
                if fd == process:
                    raise _refused(output)
            waited += _STEP_MS
            if waited > _LONGEST_MS:
                raise StorageError(f"mounting the layers: {PROGRAM} did not mount them in time")
    finally:
        os.close(process)


def _refused(output: int) -> StorageError:
    said = os.pread(output, 4096, 0).decode(errors="replace").strip().splitlines()
    reason = next((line for line in reversed(said) if "ignored" not in line), "it ended and gave no reason")
    return StorageError(
        f"mounting the layers: {PROGRAM}: {reason.removeprefix(PROGRAM + ': ')}",
        "`rootless doctor` tells what is missing",
    )


def _end(pid: int) -> None:
    try:
        os.kill(pid, _SIGKILL)  # our child, not yet waited for
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
