"""Namespaces: leave, enter, open and compare them (namespaces(7), unshare(2), setns(2))."""

from __future__ import annotations

import errno
import os

from rootless.kernel.libc import SyscallError, check, libc, text

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

KINDS = {
    "user": CLONE_NEWUSER,
    "mnt": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "net": CLONE_NEWNET,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}

TOO_MANY_PROCESSES = "too many processes: see `ulimit -u` and pids.max of the control group"


def remedy(number: int) -> str:
    """What to do where a new process in a new user namespace was refused with this errno."""
    if number == errno.EAGAIN:
        return TOO_MANY_PROCESSES
    if number in (errno.ENOSPC, errno.EUSERS):  # what the kernel says of counters; no disk is full
        return (
            "user namespaces are used up or switched off: sudo sysctl user.max_user_namespaces=28000 "
            "(`rootless doctor` tells more)"
        )
    return (
        "user namespaces, or the rights that they give, are forbidden here (AppArmor, SELinux, a container around us: "
        "run that one with --privileged): `rootless doctor` says by what, and the remedy"
    )


def unshare(flags: int) -> None:
    """Move this process into new namespaces (CLONE_NEW*); pid and time apply to its next child.

    With CLONE_NEWUSER the process must have one thread. Raises SyscallError, with the remedy where they are refused.
    """
    try:
        check(libc.call("unshare", flags), f"unshare({_names(flags)})")
    except SyscallError as error:
        if error.errno in (errno.EPERM, errno.ENOSPC, errno.EACCES, errno.EUSERS):
            error.hint = remedy(error.errno or 0)
        raise


def setns(fd: int, flags: int) -> None:
    """Enter the namespace that `fd` is, or with a pidfd all those of the process named by `flags` in one step."""
    check(libc.call("setns", fd, flags), f"setns({_names(flags)})")


def open_namespace(pid: int | str, kind: str) -> int:
    """A descriptor (close-on-exec) of a process's namespace; `kind` is a key of KINDS. It keeps the namespace alive."""
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def namespace_id(pid: int | str, kind: str) -> int:
    """The number that tells a namespace from others (`pid` may be "self"). Raises OSError when the process is gone."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def set_hostname(name: str) -> None:
    """Name the host in this UTS namespace, at most 64 bytes (sethostname(2))."""
    encoded = text(name)
    try:
        check(libc.call("sethostname", encoded, len(encoded)), "sethostname", name)
    except SyscallError as error:
        if error.errno == errno.EPERM:  # in a namespace of ours that is nobody's right but ours
            error.hint = (
                "the seccomp profile of a container around us forbids it: "
                "run that one with --privileged, or with --security-opt seccomp=unconfined"
            )
        raise


def set_domainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace, at most 64 bytes (setdomainname(2))."""
    encoded = text(name)
    check(libc.call("setdomainname", encoded, len(encoded)), "setdomainname", name)


def _names(flags: int) -> str:
    return "|".join(kind for kind, flag in KINDS.items() if flags & flag) or hex(flags)
