"""/sys/fs/cgroup of a container: the unified hierarchy, or on hosts with version 1 one directory per hierarchy."""

from __future__ import annotations

from rootless.errors import RootlessError
from rootless.kernel.libc import SyscallError
from rootless.runtime.mounting import make_or_borrow
from rootless.runtime.mountoptions import MountOptions

TYPE_CHECKING = False


def make_cgroup_tree(options: MountOptions, warnings: list[str]) -> int:
    """A detached mount showing the cgroup namespace's view. Raises RootlessError."""
    try:
        return make_or_borrow("cgroup2", "cgroup", options, warnings)
    except SyscallError as error:
        raise RootlessError(f"mounting cgroup on /sys/fs/cgroup: {error.message}") from None
