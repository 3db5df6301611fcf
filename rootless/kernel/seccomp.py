"""Load a system-call filter (seccomp(2)). What the filter says is decided elsewhere."""

from __future__ import annotations

import errno
import os
import struct

from rootless.kernel.libc import SyscallError, address_of, check, libc, syscall

SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_FILTER_FLAG_LOG = 2
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SECCOMP_SET_MODE_FILTER = 1

# seccomp(2) is only needed for its flags; without any, prctl(2) does the same under one number everywhere.
_NUMBERS = {
    "x86_64": 317,
    "aarch64": 277,
    "riscv64": 277,
    "loongarch64": 277,
    "s390x": 348,
    "ppc64le": 358,
}

_INSTRUCTION = 8


def load_filter(program: bytes, flags: int = 0) -> int:
    """Put this process, and what it will become, under a filter of classic BPF; nothing takes it off again.

    `program` is an array of struct sock_filter in the machine's byte order. Needs no_new_privs or CAP_SYS_ADMIN in this
    user namespace. Returns the listener's descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER, else 0. Raises ValueError
    for what is no program, SyscallError for what the kernel refuses.
    """
    length, rest = divmod(len(program), _INSTRUCTION)
    if rest or not 0 < length <= 4096:
        raise ValueError(f"a seccomp filter of {len(program)} bytes")
    header = struct.pack("@HP", length, address_of(program))
    if not flags:
        return check(libc.call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0), "prctl(PR_SET_SECCOMP)")
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise SyscallError(errno.ENOSYS, f"seccomp on {os.uname().machine}")
    return syscall(number, "seccomp", _SECCOMP_SET_MODE_FILTER, flags, header)
