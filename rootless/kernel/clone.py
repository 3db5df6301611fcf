"""clone(2): a fork whose child starts in namespaces of its own, with a pidfd of it from the first moment.

Python offers fork alone, after which only another fork enters a new pid namespace. What os.fork does around the system
call (the import lock, the GIL, the thread's state) is done here through the same functions of CPython's C interface.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_PYTHONAPI, FUNCFLAG_USE_ERRNO, CFuncPtr, get_errno

from rootless.kernel.libc import SyscallError, _Result, _Word, address_of, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_INTO_CGROUP = 0x200000000

_SIGCHLD = 17
_CLONE3 = 435  # on every architecture
# Machines where clone(flags, stack, parent_tid, ...) has this order; s390 swaps the first two.
_NUMBER = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "armv7l": 120, "i686": 120, "ppc64le": 120}


class _Interpreter(CFuncPtr):
    """A function called with the GIL held: another thread must not run between the clone and what follows it."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI | FUNCFLAG_USE_ERRNO
    _restype_ = _Result


def clone(flags: int, group: int = -1) -> tuple[int, int]:
    """Fork with CLONE_* flags: (0, -1) in the child, (pid, pidfd) in the parent; the pidfd is close-on-exec.

    With CLONE_PARENT the child is the caller's sibling. `group`: a descriptor of the control group that it starts in
    (clone3(2), Linux 5.7), without CLONE_PARENT. The caller must have one thread only. Raises SyscallError.
    """
    number = _CLONE3 if group >= 0 else _NUMBER.get(_machine())
    if number is None:
        raise SyscallError(
            errno.ENOSYS, "clone", hint=f"the number of clone(2) on {_machine()} is not known to this version"
        )
    before, child, parent = (
        _function(f"PyOS_{name}") for name in ("BeforeFork", "AfterFork_Child", "AfterFork_Parent")
    )
    pidfd = struct.pack("i", -1)
    arguments: list[Any]
    # The kernel writes the descriptor into `pidfd`, which no one else holds yet.
    if group >= 0:
        flags |= CLONE_PIDFD | CLONE_INTO_CGROUP
        order = struct.pack("=11Q", flags, address_of(pidfd), 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, group)
        call, arguments = _function("syscall", 3), [number, order, len(order)]
    else:
        flags |= _SIGCHLD | CLONE_PIDFD
        call, arguments = _function("syscall", 6), [number, flags, None, address_of(pidfd), None, None]
    before()
    pid = call(*arguments)
    if pid == 0:
        child()
        return 0, -1
    number = get_errno()
    parent()
    if pid < 0:
        raise SyscallError(number, "clone")
    return pid, int(struct.unpack("i", pidfd)[0])


def clone_into(group: str, flags: int) -> tuple[int, int]:
    """As `clone`, for a child in the control group of this directory ("": in ours), from its first moment on. Where the
    kernel or a filter around us does not know how, it is moved there. Raises SyscallError."""
    if not group:
        return clone(flags)
    try:
        fd = os.open(group, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError(error.errno or 0, "open", group) from None
    try:
        return clone(flags, fd)
    except SyscallError:
        return _clone_and_move(group, flags)  # which says what is wrong, if anything is
    finally:
        os.close(fd)


def _clone_and_move(group: str, flags: int) -> tuple[int, int]:
    from rootless.kernel import cgroups

    pid, pidfd = clone(flags)
    if pid:
        try:
            cgroups.join(group, pid)
        except OSError as error:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(pidfd)
            raise SyscallError(error.errno or 0, "write", f"{group}/cgroup.procs") from None
    return pid, pidfd


def _function(name: str, arguments: int = 0) -> Any:
    found = _Interpreter((name, libc))  # type: ignore[arg-type]
    found.argtypes = (_Word,) * arguments
    return found


def _machine() -> str:
    machine = os.uname().machine
    # A 32-bit interpreter on a 64-bit kernel speaks the 32-bit table.
    return {"x86_64": "i686", "aarch64": "armv7l"}.get(machine, machine) if sys.maxsize < 2**32 else machine
