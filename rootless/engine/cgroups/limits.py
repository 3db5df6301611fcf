"""The limits of `create`, `run` and `update` as files of a control group (version 2). Everything is checked here,
before anything is written. Documentation/admin-guide/cgroup-v2.rst in the kernel's sources has the files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from rootless.engine.request import CreateRequest
from rootless.engine.spec.config import size_in_bytes
from rootless.errors import UsageError

_PERIOD = 100_000  # microseconds
_SHORTEST_QUOTA, _LONGEST_QUOTA = 1000, 1 << 50
_SHORTEST_PERIOD, _LONGEST_PERIOD = 1000, 1_000_000
_LEAST_MEMORY = 512 << 10


@dataclass(frozen=True, slots=True)
class Limit:
    """What is written into a file. `optional`: a kernel without that file does without it. `instead`: another file
    and what is written there, where this one is missing."""

    file: str
    value: str
    optional: bool = False
    instead: tuple[str, str] | None = None

    @property
    def controller(self) -> str:
        return self.file.partition(".")[0]


def limits_of(request: CreateRequest) -> list[Limit]:
    """What the group is told. Raises UsageError."""
    return [*_memory(request), *_cpu(request), *_pids(request), *_blocks(request), *_raw(request)]


def _memory(request: CreateRequest) -> list[Limit]:
    if request.memory_swappiness not in (None, -1):
        raise UsageError(
            "--memory-swappiness: control groups of version 2 have no such setting",
            "--memory-swap says how much may be swapped",
        )
    if request.oom_kill_disable:
        raise UsageError(
            "--oom-kill-disable: control groups of version 2 have no such setting",
            "--oom-score-adj says how readily it is killed; --memory-reservation protects memory",
        )
    found = []
    memory = _size(request.memory, "--memory")
    if memory is not None:
        found.append(Limit("memory.max", _number(memory)))
    if request.memory_swap is not None:
        if not memory:
            raise UsageError("--memory-swap: it is memory and swap together, so it needs --memory")
        both = _size(request.memory_swap, "--memory-swap")
        if both and both != -1 and both < memory:
            raise UsageError(f"--memory-swap {request.memory_swap}: it is memory and swap together, not below --memory")
        value = "max" if both == -1 else str((both or 2 * memory) - memory)
        found.append(Limit("memory.swap.max", value, optional=value == "max"))
    elif memory is not None:  # as Docker and Podman: twice as much, the half of it swap
        found.append(Limit("memory.swap.max", _number(memory), optional=True))
    reserved = _size(request.memory_reservation, "--memory-reservation")
    if reserved is not None:
        if memory and memory < reserved:
            raise UsageError(f"--memory-reservation {request.memory_reservation}: it is above --memory")
        found.append(Limit("memory.low", _number(reserved, nothing="0")))
    return found


def _size(text: str | None, option: str) -> int | None:
    """Bytes; 0, for swap also -1, for no limit; None where nothing was said."""
    if text is None:
        return None
    if text == "-1" and option == "--memory-swap":
        return -1
    size = size_in_bytes(text, option)
    if option == "--memory" and 0 < size < _LEAST_MEMORY:
        raise UsageError(f"--memory {text}: no container starts with less than 512k")
    if size >= 1 << 63:
        raise UsageError(f"{option} {text}: more than any machine has")
    return size


def _number(value: int, nothing: str = "max") -> str:
    return str(value) if value > 0 else nothing


def _cpu(request: CreateRequest) -> list[Limit]:
    found = []
    quota, period = request.cpu_quota, request.cpu_period
    if request.cpus is not None:
        if quota or period:
            raise UsageError("--cpus contradicts --cpu-quota and --cpu-period", "leave one of them out")
        try:
            count = float(request.cpus)
        except ValueError:
            count = -1.0
        if not 0 <= count < 1e9:
            raise UsageError(f'--cpus "{request.cpus}": not a number of processors', "write it like 1.5")
        quota = round(count * _PERIOD)
        if count and quota < _SHORTEST_QUOTA:
            raise UsageError(f"--cpus {request.cpus}: the kernel gives no less than 0.01")
        period = _PERIOD
    if period and not _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD:
        raise UsageError(f"--cpu-period {period}: it is from 1000 to 1000000 microseconds")
    if quota and quota > 0 and not _SHORTEST_QUOTA <= quota < _LONGEST_QUOTA:
        raise UsageError(f"--cpu-quota {quota}: it is 1000 microseconds at least")
    if quota is not None or period is not None:
        found.append(Limit("cpu.max", f"{_number(quota or 0)} {period or _PERIOD}"))
    if request.cpu_shares:
        if not 2 <= request.cpu_shares <= 262144:
            raise UsageError(f"--cpu-shares {request.cpu_shares}: it is from 2 to 262144")
        found.append(Limit("cpu.weight", str(1 + (request.cpu_shares - 2) * 9999 // 262142)))
    for option, text in (("cpus", request.cpuset_cpus), ("mems", request.cpuset_mems)):
        if text:
            if not _is_list(text):
                raise UsageError(f'--cpuset-{option} "{text}": not a list of numbers', "write it like 0-2,4")
            found.append(Limit(f"cpuset.{option}", text))
    return found


def _is_list(text: str) -> bool:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and len(first) < 6) or (dash and not (last.isdecimal() and int(first) <= int(last))):
            return False
    return True


def _pids(request: CreateRequest) -> list[Limit]:
    if request.pids_limit is None:
        return []
    if request.pids_limit < -1 or request.pids_limit >= 1 << 31:
        raise UsageError(f"--pids-limit {request.pids_limit}: not a number of processes", "-1: no limit")
    return [Limit("pids.max", _number(request.pids_limit))]


def _blocks(request: CreateRequest) -> list[Limit]:
    found = []
    if request.blkio_weight:
        found.append(_weight("default", request.blkio_weight, f"--blkio-weight {request.blkio_weight}"))
    for text in request.blkio_weight_device:
        path, weight = _split(text, "--blkio-weight-device")
        found.append(_weight(_device(path, "--blkio-weight-device"), weight, f"--blkio-weight-device {text}"))
    for name, key, given in (
        ("--device-read-bps", "rbps", request.device_read_bps),
        ("--device-write-bps", "wbps", request.device_write_bps),
        ("--device-read-iops", "riops", request.device_read_iops),
        ("--device-write-iops", "wiops", request.device_write_iops),
    ):
        for text in given:
            path, _, rate = text.rpartition(":")
            value = size_in_bytes(rate, name) if key.endswith("bps") else _split(text, name)[1]
            if not path or value <= 0:
                raise UsageError(f'{name} "{text}": not a device and a rate', "write it like /dev/sda:1mb")
            found.append(Limit("io.max", f"{_device(path, name)} {key}={value}"))
    return found


def _weight(what: str, weight: int, where: str) -> Limit:
    if not 10 <= weight <= 1000:
        raise UsageError(f"{where}: weights are from 10 to 1000")
    scaled = 1 + (weight - 10) * 9999 // 990
    return Limit("io.bfq.weight", f"{what} {weight}", instead=("io.weight", f"{what} {scaled}"))


def _split(text: str, option: str) -> tuple[str, int]:
    path, _, number = text.rpartition(":")
    if not path or not number.isdecimal():
        raise UsageError(f'{option} "{text}": not a device and a number', "write it like /dev/sda:100")
    return path, int(number)


def _device(path: str, option: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise UsageError(f"{option} {path}: not a block device")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def _raw(request: CreateRequest) -> list[Limit]:
    found = []
    for text in request.cgroup_conf:
        name, parted, value = text.partition("=")
        controller, dot, _ = name.partition(".")
        if not parted or not dot or "/" in name or controller in ("", "cgroup"):
            raise UsageError(
                f'--cgroup-conf "{text}": not a file of a controller', "write it like memory.high=1073741824"
            )
        found.append(Limit(name, value))
    return found
