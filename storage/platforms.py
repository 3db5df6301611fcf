"""Platforms as images name them: the words of Go (GOOS, GOARCH) and the OCI image specification."""

from __future__ import annotations

import os
from typing import NamedTuple

from storage.machines import MACHINES


class Platform(NamedTuple):
    """ "linux", "arm64", "v8"; the variant is "" where there is none."""

    os: str
    architecture: str
    variant: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def host_platform() -> Platform:
    """What this machine's kernel runs."""
    machine = os.uname().machine
    architecture, variant = MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)
