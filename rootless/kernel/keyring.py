"""The session keyring of this process (session-keyring(7)), which children and programs that it executes inherit."""

from __future__ import annotations

import errno
import os

from rootless.kernel.libc import SyscallError, syscall

_KEYCTL_JOIN_SESSION_KEYRING = 1
_NUMBERS = {
    "x86_64": 250,
    "aarch64": 219,
    "riscv64": 219,
    "loongarch64": 219,
    "s390x": 280,
    "ppc64le": 271,
    "armv7l": 311,
    "i686": 288,
}


def leave_session_keyring() -> bool:
    """Take a new, empty session keyring: what the old one held can no longer be found.

    False where the user's quota of keys is used up (/proc/sys/kernel/keys/maxkeys); True also on kernels without keys,
    and in a sandbox that keeps everybody in it from them. Raises SyscallError.
    """
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise SyscallError(errno.ENOSYS, f"keyctl on {os.uname().machine}")
    try:
        syscall(number, "keyctl(JOIN_SESSION_KEYRING)", _KEYCTL_JOIN_SESSION_KEYRING, None)
    except SyscallError as error:
        if error.errno == errno.EDQUOT:
            return False
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return True
