"""Peak memory of a command with everything that it starts."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.01


def pss(pid: int) -> int:
    """Proportional set size in bytes: proc_pid_smaps(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise ValueError(f"no Pss of {pid}")


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def peak(command: str) -> int:
    """Bytes: the largest sum of the proportional sets of the command and its descendants, looked at every 10 ms.

    What it leaves running becomes ours (prctl(2), PR_SET_CHILD_SUBREAPER), so that nothing escapes being counted.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    highest = 0
    while child.poll() is None:
        highest = max(highest, sum(_pss_or_nothing(pid) for pid in descendants(os.getpid())))
        time.sleep(_PAUSE)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return highest


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(parent(int(name)), []).append(int(name))
            except (OSError, ProcessLookupError):
                continue  # it has ended
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _pss_or_nothing(pid: int) -> int:
    try:
        return pss(pid)
    except (OSError, ValueError):
        return 0  # it has ended, or is about to
