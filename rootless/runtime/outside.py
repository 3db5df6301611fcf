"""Mounting the root file system from outside the container's pid namespace, for drivers with a process behind them."""

from __future__ import annotations

import marshal
import os

from rootless.errors import RootlessError
from rootless.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, setns
from rootless.kernel.process import set_dumpable
from rootless.runtime.channel import describe_error, restore_error
from rootless.runtime.inheritance import become_root_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.runtime.launch import MountRootfs


def mount_from_outside(pidfd: int, flags: int, mount_rootfs: MountRootfs | None, plan: dict[str, Any]) -> None:
    """Call `mount_rootfs` in a child that is root in the new user and mount namespaces but stays in our pid namespace.

    What it leaves running becomes a child of the nearest subreaper. Raises what the function raised.
    """
    assert mount_rootfs is not None
    target = plan.get("target") or plan["config"]["root"]["path"]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            try:
                setns(pidfd, flags & (CLONE_NEWUSER | CLONE_NEWNS))
                if flags & CLONE_NEWUSER:
                    become_root_inside()
                    set_dumpable(True)
                mount_rootfs(plan["rootfs"], target)
                for image, place in plan.get("images") or ():
                    mount_rootfs(image, place)
            except BaseException as error:
                os.write(writer, marshal.dumps(describe_error(error)))
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe:
        answer = pipe.read() or b""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if answer:
        raise restore_error(marshal.loads(answer))
    if code:
        raise RootlessError(f"mounting the root file system: the process that does it ended with status {code}")
