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

_SIGCHLD = 17
# Machines where clone(flags, stack, parent_tid, ...) has this order; s390 swaps the first two.
_NUMBER = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "armv7l": 120, "i686": 120, "ppc64le": 120}


class _Interpreter(CFuncPtr):
    """A function called with the GIL held: another thread must not run between the clone and what follows it."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI | FUNCFLAG_USE_ERRNO
    _restype_ = _Result


def clone(flags: int) -> tuple[int, int]:
    """Fork with CLONE_* flags: (0, -1) in the child, (pid, pidfd) in the parent; the pidfd is close-on-exec.

    With CLONE_PARENT the child is the caller's sibling. The caller must have one thread only. Raises SyscallError.
    """
    number = _NUMBER.get(_machine())
    if number is None:
        raise SyscallError(
            errno.ENOSYS, "clone", hint=f"the number of clone(2) on {_machine()} is not known to this version"
        )
    before, child, parent = (
        _function(f"PyOS_{name}") for name in ("BeforeFork", "AfterFork_Child", "AfterFork_Parent")
    )
    system_call = _function("syscall", 6)
    pidfd = struct.pack("i", -1)
    flags |= _SIGCHLD | CLONE_PIDFD
    before()
    # The kernel writes the descriptor into `pidfd`, which no one else holds yet.
    pid = system_call(number, flags, None, address_of(pidfd), None, None)
    if pid == 0:
        child()
        return 0, -1
    number = get_errno()
    parent()
    if pid < 0:
        raise SyscallError(number, "clone")
    return pid, int(struct.unpack("i", pidfd)[0])


def _function(name: str, arguments: int = 0) -> Any:
    found = _Interpreter((name, libc))  # type: ignore[arg-type]
    found.argtypes = (_Word,) * arguments
    return found


def _machine() -> str:
    machine = os.uname().machine
    # A 32-bit interpreter on a 64-bit kernel speaks the 32-bit table.
    return {"x86_64": "i686", "aarch64": "armv7l"}.get(machine, machine) if sys.maxsize < 2**32 else machine
