"""Platforms as images name them: the words of Go (GOOS, GOARCH) and the OCI image specification."""

from __future__ import annotations

import os
from typing import NamedTuple

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
}


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
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)
