"""Which version this is. On the path of `version`: nothing is imported, no package metadata is read."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "0.1.0"


def describe() -> dict[str, Any]:
    """The fields of `version`, under Podman's names; what a Python program does not have is empty."""
    from storage.machines import MACHINES

    machine = os.uname().machine
    architecture = MACHINES.get(machine, (machine, ""))[0]
    return {
        "APIVersion": VERSION,  # nobody is served an API
        "Version": VERSION,
        "PythonVersion": ".".join(map(str, sys.version_info[:3])),
        "GoVersion": "",
        "GitCommit": "",
        "BuiltTime": "",
        "Built": 0,
        "BuildOrigin": "",
        "OsArch": f"linux/{architecture}",
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": os.uname().release,
    }
