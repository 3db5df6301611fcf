"""What `doctor` finds: one value for each thing that it looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass

OK = "ok"
NOTE = "note"
WARNING = "warning"
PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is OK, NOTE (worth knowing, and no fault), WARNING (containers run, something is missing) or PROBLEM
    (containers, or those with a network of their own, do not run). `mend` are commands to type, in their order; `note`
    is more to read."""

    check: str
    level: str
    message: str
    mend: tuple[str, ...] = ()
    note: str = ""


def as_root(command: str) -> str:
    """A command that takes privilege, as we would type it."""
    return command if os.getuid() == 0 else f"sudo {command}"


def set_kernel_switch(name: str, value: int) -> tuple[str, ...]:
    """The commands that set a sysctl now and at every boot."""
    write = "tee -a /etc/sysctl.d/90-rootless.conf"
    return (f"echo '{name} = {value}' | {as_root(write)}", as_root("sysctl --system"))
