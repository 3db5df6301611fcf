"""Processes by descriptor: nobody is ever signalled who only happens to have inherited a process id.

A process that was written down is known by three facts: its id, its start time, and the realm in which those were read
(see `realm`). In another realm nothing can be said of it by number.
"""

from __future__ import annotations

import errno
import os
import select

from rootless.kernel.libc import SyscallError, syscall

# By number: some builds of Python lack os.pidfd_open. One number on every architecture.
_PIDFD_SEND_SIGNAL = 424
_PIDFD_OPEN = 434

_LONGEST = 0x7FFFFFFF  # milliseconds, 24 days: as long as poll(2) can wait
_boot_id = _realm = ""


def open_pidfd(pid: int) -> int:
    """A descriptor (close-on-exec) of a process. Raises ProcessLookupError (a SyscallError) when there is none."""
    return syscall(_PIDFD_OPEN, "pidfd_open", pid, 0, path=f"process {pid}")


def send(pidfd: int, signal: int) -> bool:
    """Send a signal; False when the process has ended. Raises SyscallError (EPERM, EINVAL)."""
    try:
        syscall(_PIDFD_SEND_SIGNAL, f"pidfd_send_signal({int(signal)})", pidfd, int(signal), None, 0)
    except SyscallError as error:
        if error.errno == errno.ESRCH:
            return False
        raise
    return True


def start_time(pid: int | str) -> int | None:
    """When a process started, in clock ticks since boot; None if gone."""
    found = state_and_start(pid)
    return None if found is None else found[1]


def state_and_start(pid: int | str) -> tuple[str, int] | None:
    """The state letter and the start time of a process (fields 3 and 22 of /proc/PID/stat, proc(5)); None if gone."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(fd, 4096)
    except OSError:  # ESRCH: it ended in between
        return None
    finally:
        os.close(fd)
    # The second field is the command's name in parentheses and may itself contain spaces and parentheses.
    fields = line[line.rindex(b")") + 2 :].split(b" ", 20)
    return fields[0].decode(), int(fields[19])


def boot_id() -> str:
    """The random id of this boot of the machine."""
    global _boot_id
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
            _boot_id = file.read(64).decode().strip()
    return _boot_id


def realm() -> str:
    """Where the numbers of processes, and their start times, mean what they mean to us: BOOT/PID/TIME, the boot id and
    the inodes of our pid and time namespaces (the latter moves the clock that start times are told in)."""
    global _realm
    if not _realm:
        _realm = f"{boot_id()}/{os.stat('/proc/self/ns/pid').st_ino}/"
        try:
            _realm += str(os.stat("/proc/self/ns/time").st_ino)
        except OSError:  # a kernel without them
            pass
    return _realm


def myself() -> tuple[int, int, str]:
    """(pid, start time, realm) of this process, to be written down."""
    return os.getpid(), start_time("self") or 0, realm()


def open_if_same(pid: int, start: int, where: str) -> int | None:
    """A descriptor of the process that was written down as `pid`, `start`, and `where` its realm; None if that process
    has ended, even where its id lives on in another one or it was not yet reaped, and where the realm is not ours."""
    if pid <= 0 or where != realm():
        return None
    try:
        pidfd = open_pidfd(pid)
    except ProcessLookupError:
        return None
    # Only now: were the start time read before, the id might pass to another process in between.
    if start_time(pid) == start and not wait_exit(pidfd, 0):
        return pidfd
    os.close(pidfd)
    return None


def wait_exit(pidfd: int, timeout_ms: int | None) -> bool:
    """Wait until the process has ended, at most `timeout_ms` milliseconds (None: for ever); True if it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout_ms is None else min(timeout_ms, _LONGEST)))
