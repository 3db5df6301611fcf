"""What running containers use: what their control groups count, and the rest, or all where they have none, from the
host's /proc.

cpu: ticks of its processes and of the children that they have waited for. memory: proportional set sizes. blocks: bytes
from and to disks, proc_pid_io(5). network: bytes through its own interfaces but lo; a container in the host's network
has none.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace

from rootless.engine.processes import TICKS, Process, processes_by_container
from rootless.engine.records import Container


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment (seconds, monotonic) of a container. `cpu`: seconds of processor time. Bytes: `memory`, `limit` (of
    memory; None without), `received`, `sent` (None without a network of its own), `read`, `written`. `pressure`: as
    `stats_group.Counted`."""

    moment: float
    cpu: float
    memory: int
    received: int | None
    sent: int | None
    read: int
    written: int
    pids: int
    limit: int | None = None
    pressure: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """`percent`: of one processor since the sample before, or since the start; `average`: since the start; `limit`:
    bytes of memory that there are."""

    sample: Sample
    percent: float
    average: float
    limit: int

    @property
    def memory_percent(self) -> float:
        return 100 * self.sample.memory / self.limit if self.limit else 0.0


def take(containers: list[Container]) -> dict[str, Sample]:
    """A sample of each container that runs, by its id."""
    found = processes_by_container([container.pid for container in containers if container.pid])
    moment = time.monotonic()
    return {
        container.id: _sample(container, moment, found[container.pid])
        for container in containers
        if container.pid in found
    }


def usage(container: Container, sample: Sample, before: Sample | None) -> Usage:
    """What came of two samples, or of one and the container's start."""
    age = max(1 / TICKS, time.time() - container.started)
    average = 100 * sample.cpu / age
    percent = average
    if before is not None and sample.moment > before.moment:
        percent = 100 * max(0.0, sample.cpu - before.cpu) / (sample.moment - before.moment)
    there_is = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Usage(sample, percent, average, min(sample.limit or there_is, there_is))


def _sample(container: Container, moment: float, processes: list[Process]) -> Sample:
    sample = _from_proc(container.pid, moment, processes)
    if not container.cgroup:
        return sample
    from rootless.engine.cgroups.usage import count

    counted = count(container.cgroup)
    known = {
        name: value
        for name in ("cpu", "memory", "limit", "read", "written", "pids")
        if (value := getattr(counted, name)) is not None
    }
    return replace(sample, **known, pressure=counted.pressure)


def _from_proc(init: int, moment: float, processes: list[Process]) -> Sample:
    reads = writes = memory = 0
    for process in processes:
        memory += _memory(process)
        read, written = _blocks(process.host_pid)
        reads += read
        writes += written
    cpu = sum(process.cpu + process.reaped for process in processes) / TICKS
    received, sent = _network(init)
    return Sample(moment, cpu, memory, received, sent, reads, writes, _threads(processes))


def _threads(processes: list[Process]) -> int:
    return sum(int(process.status.get("Threads", "1")) for process in processes)


def _memory(process: Process) -> int:
    try:
        with open(f"/proc/{process.host_pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return process.memory


def _blocks(pid: int) -> tuple[int, int]:
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            fields = dict(line.split(b": ") for line in file)
        return int(fields[b"read_bytes"]), int(fields[b"write_bytes"])
    except (OSError, KeyError):
        return 0, 0


def _network(init: int) -> tuple[int | None, int | None]:
    try:
        if os.stat(f"/proc/{init}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return None, None
        with open(f"/proc/{init}/net/dev", "rb") as file:
            lines = file.read().splitlines()[2:]
    except OSError:
        return None, None
    received = sent = 0
    for line in lines:
        name, _, numbers = line.partition(b":")
        if name.strip() != b"lo":
            fields = numbers.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent
