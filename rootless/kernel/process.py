"""What a process is to the kernel: prctl(2), descriptors, limits."""

from __future__ import annotations

import os
import struct

from rootless.kernel.libc import SyscallError, check, libc, syscall, text

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_CLOSE_RANGE = 436  # on every architecture
_CLOSE_RANGE_CLOEXEC = 4
_LAST_DESCRIPTOR = 0xFFFFFFFF


def _prctl(name: str, option: int, value: int | bytes) -> int:
    return check(libc.call("prctl", option, value, 0, 0, 0), f"prctl({name})")


def become_subreaper() -> None:
    """Become the parent of every orphan among our descendants."""
    _prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1)


def set_parent_death_signal(signal: int) -> None:
    """Have this signal sent to us when the thread that made us ends; 0 for none.

    The kernel forgets it when credentials change and when a set-user-ID file is executed: set it last, and check
    afterwards that the parent still lives.
    """
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, int(signal))


def set_no_new_privs() -> None:
    """Give up, for good and for all children, what set-user-ID files and file capabilities would give."""
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def set_dumpable(dumpable: bool) -> None:
    """Whether our /proc/PID belongs to us; a change of credentials turns it off, and /proc/self/fd with it."""
    _prctl("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(dumpable))


def set_keep_caps(keep: bool) -> None:
    """Whether permitted capabilities outlast the change from uid 0 to another; cleared by exec."""
    _prctl("PR_SET_KEEPCAPS", _PR_SET_KEEPCAPS, int(keep))


def set_personality(domain: str) -> None:
    """Have uname(2) tell of another machine: "LINUX32" or "LINUX". personality(2). Raises SyscallError."""
    check(libc.call("personality", {"LINUX": 0, "LINUX32": 8}[domain]), f"personality({domain})")


def set_process_name(name: str) -> None:
    """The name that `ps` and /proc/PID/comm show, cut to 15 bytes."""
    _prctl("PR_SET_NAME", _PR_SET_NAME, text(name)[:15])


def close_range(first: int, last: int = _LAST_DESCRIPTOR, cloexec: bool = False) -> None:
    """Close descriptors `first` to `last` (inclusive), or with `cloexec` have the next exec close them."""
    last = min(last, _LAST_DESCRIPTOR)
    if first > last:
        return
    try:
        syscall(_CLOSE_RANGE, "close_range", first, last, _CLOSE_RANGE_CLOEXEC if cloexec else 0)
    except SyscallError:  # kernel < 5.9 (5.11 for cloexec)
        for fd in [int(entry) for entry in os.listdir("/proc/self/fd")]:
            if first <= fd <= last:
                try:
                    os.set_inheritable(fd, False) if cloexec else os.close(fd)
                except OSError:  # the one that listed the directory
                    pass


def set_rlimits(limits: list[tuple[int, int, int]]) -> None:
    """Set resource limits of this process: (resource number, soft, hard), -1 is unlimited (setrlimit(2))."""
    infinity = (1 << 8 * struct.calcsize("L")) - 1
    for resource, soft, hard in limits:
        values = struct.pack("LL", soft & infinity, hard & infinity)
        check(libc.call("setrlimit", resource, values), f"setrlimit({resource}, {soft}, {hard})")
