"""How a child has ended. A process that traces it, which may be one in its own container, is told first, and may keep
that from us for ever (ptrace(2)): wait(2) would hold up whoever waits."""

from __future__ import annotations

import posix as os

_EXIT_CODE = 52  # the number of the field in /proc/PID/stat


def stands_still(pid: int) -> bool:
    """Whether a child is traced, and waits for its tracer."""
    return stat_fields(pid)[:1] == [b"t"]


def exit_code(pid: int) -> int | None:
    """The exit code (128+n for signal n) of a child, whose number stays its own; None while nobody tells us."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if ended is not None:
        return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)
    return _code_of_traced(pid)


def _code_of_traced(pid: int) -> int | None:
    fields = stat_fields(pid)
    if fields[:1] != [b"Z"]:
        return None
    status = int(fields[_EXIT_CODE - 3])
    return 128 + (status & 0x7F) if status & 0x7F else status >> 8


def stat_fields(pid: int | str) -> list[bytes]:
    """/proc/PID/stat from the state letter on; [] where /proc shows nothing of others' processes."""
    try:
        stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    fields = os.read(stat, 4096).rpartition(b")")[2].split()
    os.close(stat)
    return fields
