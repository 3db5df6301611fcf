"""What a container uses, as its control group counts it: more precisely than /proc, and with what has already ended.

memory and pids are there only where their controllers are delegated; pressure (PSI) where the kernel has it on.
Documentation/admin-guide/cgroup-v2.rst, Documentation/accounting/psi.rst in the kernel's sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from rootless.kernel.cgroups import numbers, read


@dataclass(frozen=True, slots=True)
class Counted:
    """`cpu`: seconds; `memory`, `limit` (of memory), `read`, `written`: bytes; `pids`: threads. None: not counted.

    `pressure`: for "cpu", "memory", "io" the shares of the last ten seconds in percent in which some, and in which all
    of its processes have waited for that.
    """

    cpu: float | None
    memory: int | None
    limit: int | None
    read: int | None
    written: int | None
    pids: int | None
    pressure: dict[str, tuple[float, float]]


def count(directory: str) -> Counted:
    """What the group of this directory has used."""
    usage = numbers(directory, "cpu.stat").get("usage_usec")
    disks = _disks(directory)
    return Counted(
        None if usage is None else usage / 1e6,
        _number(directory, "memory.current"),
        _number(directory, "memory.max"),
        disks[0],
        disks[1],
        _number(directory, "pids.current"),
        {name: found for name in ("cpu", "memory", "io") if (found := _pressure(directory, name)) is not None},
    )


def _number(directory: str, name: str) -> int | None:
    text = read(directory, name).strip()
    return int(text) if text.isdigit() else None


def _disks(directory: str) -> tuple[int | None, int | None]:
    text = read(directory, "io.stat")
    if not text:
        return None, None
    found = {"rbytes": 0, "wbytes": 0}
    for word in text.split():
        key, _, value = word.partition("=")
        if key in found:
            found[key] += int(value)
    return found["rbytes"], found["wbytes"]


def _pressure(directory: str, name: str) -> tuple[float, float] | None:
    shares = {}
    for line in read(directory, f"{name}.pressure").splitlines():
        kind, average, *_ = line.split()
        shares[kind] = float(average.removeprefix("avg10="))
    return (shares["some"], shares.get("full", 0.0)) if "some" in shares else None
