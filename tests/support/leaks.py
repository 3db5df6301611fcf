"""What a test may have left behind: processes, mounts, files of one store."""

from __future__ import annotations

import os
import time
from pathlib import Path


def processes_of(place: Path) -> dict[int, str]:
    """Processes that belong to the store at `place`: it stands in their command line, environment or mounts."""
    needle = os.fsencode(place)
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        for name in ("cmdline", "environ", "mountinfo"):
            try:
                content = Path("/proc", entry, name).read_bytes()
            except OSError:
                continue
            if needle in content:
                command = Path("/proc", entry, "cmdline")
                try:
                    found[int(entry)] = command.read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
                except OSError:
                    continue
                break
    return found


def host_mounts_of(place: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(place) in line]


def entries(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def assert_nothing_left(place: Path, root: Path, runroot: Path, patience: float = 3.0) -> None:
    """Fail if anything of the store still runs or lies about, once short-lived clean-up has had `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        left = {
            "processes": processes_of(place),
            "mounts": host_mounts_of(place),
            "container directories": entries(root / "containers"),
            # what an interrupted pull goes on with later stays on purpose
            "temporary files": [name for name in entries(root / "tmp") if not name.endswith(".partial")],
            "run directories": entries(runroot / "containers"),
        }
        if not any(left.values()):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"left behind: { {what: value for what, value in left.items() if value} }")
        time.sleep(0.05)
