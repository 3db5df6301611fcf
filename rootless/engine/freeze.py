"""Stopping every process of a pid namespace and those below it, and letting them go on: SIGSTOP and SIGCONT."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator

from rootless.kernel.pidfd import open_if_same, realm, send, state_and_start

Stopped = dict[int, int]
"""Processes as the host sees them: pid -> start time."""

_NS_GET_PARENT = 0xB702  # _IO(0xb7, 2), ioctl_ns(2)
_PAUSE = 0.002
_STOPPED = "TtZX"
_ASLEEP = 1.0  # seconds after which a process that the kernel does not let go counts as standing still
_SIGSTOP_BIT = 1 << (signal.SIGSTOP - 1)


def stop_all(init: int, stopped: Stopped, patience: float, frozen: Callable[[], set[int]] | None = None) -> bool:
    """Stop all processes in the pid namespace of the process `init`; False where one still runs after `patience`
    seconds. `stopped` is given those that were sent a signal for it, and none that stood still before. `frozen`: which
    processes stand still anyhow.

    Two looks in a row must find none that runs: what a process has forked in the moment of its stop may be missing in
    the list that the first one was made from.
    """
    begun = time.monotonic()
    known: dict[int, bool] = {}
    quiet = 0
    while quiet < 2:
        asleep_counts = time.monotonic() - begun > _ASLEEP
        running = 0
        still = frozen() if frozen is not None else ()
        for pid, start, state in _members(init, known):
            if pid not in still and not _stands_still(pid, state, asleep_counts):
                running += 1
                if stopped.get(pid) != start and _signal(pid, start, signal.SIGSTOP):
                    stopped[pid] = start
        quiet = 0 if running else quiet + 1
        if running:
            if time.monotonic() - begun > patience:
                return False
            time.sleep(_PAUSE)
    return True


def stopped_ones(init: int) -> Stopped:
    """All processes in the pid namespace of `init` that are stopped, whoever has done that."""
    return {pid: start for pid, start, state in _members(init, {}) if state == "T"}


def stop_one(pid: int, start: int) -> bool:
    """Stop one process; whether it was there."""
    return _signal(pid, start, signal.SIGSTOP)


def let_go(stopped: Stopped) -> None:
    """Let processes go on."""
    for pid, start in stopped.items():
        _signal(pid, start, signal.SIGCONT)


def _members(init: int, known: dict[int, bool]) -> Iterator[tuple[int, int, str]]:
    """(pid, start time, state letter) of the processes in the pid namespace of `init` and those below; none where it
    has ended. `known` is kept from look to look."""
    try:
        known[os.stat(f"/proc/{init}/ns/pid").st_ino] = True
    except OSError:
        return
    for name in os.listdir("/proc"):
        found = state_and_start(name) if name.isdigit() else None
        if found is not None and _is_inside(name, known):
            yield int(name), found[1], found[0]


def _stands_still(pid: int, state: str, asleep_counts: bool) -> bool:
    """Whether a process in this state does nothing. One whose first thread has ended lives in the others; one that
    waits in the kernel, for a child that vfork has made, say, stops before it does anything else."""
    if state == "Z":
        return not _other_threads_run(pid)
    return state in _STOPPED or (state == "D" and asleep_counts and _is_to_stop(pid))


def _other_threads_run(pid: int) -> bool:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    for thread in threads:
        if thread != str(pid):
            found = state_and_start(f"{pid}/task/{thread}")
            if found is not None and found[0] not in _STOPPED:
                return True
    return False


def _is_to_stop(pid: int) -> bool:
    """Whether a SIGSTOP waits for the process to come out of the kernel."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return any(
                int(line.split()[1], 16) & _SIGSTOP_BIT for line in file if line.startswith(("SigPnd:", "ShdPnd:"))
            )
    except OSError:
        return True


def _signal(pid: int, start: int, number: int) -> bool:
    pidfd = open_if_same(pid, start, realm())
    if pidfd is None:
        return False
    try:
        return send(pidfd, number)
    except PermissionError:
        return False
    finally:
        os.close(pidfd)


def _is_inside(pid: str, known: dict[int, bool]) -> bool:
    """Whether the process is in one of the pid namespaces that are `known` to be the container's, or below one."""
    try:
        fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # gone, or none of ours
        return False
    path: list[int] = []
    try:
        while True:
            number = os.fstat(fd).st_ino
            path.append(number)
            if number in known:
                answer = known[number]
                break
            try:
                above = fcntl.ioctl(fd, _NS_GET_PARENT)
            except OSError:  # the first of all, or one that we may not see
                answer = False
                break
            os.close(fd)
            fd = above
    finally:
        os.close(fd)
    known.update(dict.fromkeys(path, answer))
    return answer
