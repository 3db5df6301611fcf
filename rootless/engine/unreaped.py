"""Why a container does not end although all its processes were killed.

Its pid namespace, and so its pid 1, goes when the last process in it has been reaped. One that was put there from
outside (`exec`) and has lost its parent belongs to the host's pid 1 or a subreaper, which may not do that: in another
container, pid 1 is often a program that does not know of the duty.
"""

from __future__ import annotations

import os

from rootless.errors import ConflictError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container


def refusal(container: Container) -> ConflictError:
    """What to tell whoever waits for the end of a container that was killed a while ago."""
    holders = _negligent_parents()
    if not holders:
        why = f"process {container.pid} was killed and does not end: the kernel holds it, perhaps for a slow disk"
        return ConflictError(f"ending {container.name}: {why}", "see: cat /proc/" + f"{container.pid}/stack (as root)")
    named = ", ".join(f"process {parent} ({_status(parent).get('Name', '?')})" for parent in holders)
    return ConflictError(
        f"ending {container.name}: its processes were killed, but {named} does not reap what it has inherited of them",
        "run an init there (docker run --init, or tini as pid 1), or restart that process",
    )


def _negligent_parents() -> list[int]:
    """The processes that have children in another pid namespace which ended and were not reaped."""
    depth = len(_status("self").get("NSpid", "").split())
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            status = _status(name)
            if status.get("State", "").startswith("Z") and len(status.get("NSpid", "").split()) > depth:
                found.add(int(status["PPid"]))
    return sorted(found)


def _status(pid: int | str) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
