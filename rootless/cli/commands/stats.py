"""`stats`: what containers use, once or again and again."""

from __future__ import annotations

import os
import time
from typing import Any

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import compact_size, pretty_json, short, write
from rootless.cli.settings import Settings
from rootless.cli.times import go_duration
from rootless.engine.records import Container, latest
from rootless.engine.recover import find, need_here, refresh_all
from rootless.engine.stats import Sample, Usage, take, usage
from rootless.errors import NotFoundError, UsageError

_HEADINGS = {
    "ID": "ID",
    "CPUPerc": "CPU %",
    "CPU": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemUsageBytes": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "Mem": "MEM %",
    "NetIO": "NET IO",
    "BlockIO": "BLOCK IO",
    "PIDS": "PIDS",
    "PIDs": "PIDS",
    "CPUNano": "CPU TIME",
    "CPUTime": "CPU TIME",
    "AvgCPU": "AVG CPU %",
    "AVGCPU": "AVG CPU %",
    "CPUPressure": "CPU PRESSURE",
    "MemPressure": "MEM PRESSURE",
    "IOPressure": "IO PRESSURE",
}
_TABLE = (
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDS}}"
    "\t{{.CPUTime}}\t{{.AvgCPU}}"
)
_NOTHING = "--"
_CLEAR = "\x1b[2J\x1b[H"


def command(settings: Settings, opts: Opts) -> int:
    """Until the named containers have all ended, or Ctrl-C; with --no-stream, once."""
    if bool(opts.containers) + opts.all + opts.latest > 1:
        raise UsageError("stats: --all, --latest and names of containers exclude each other")
    store = settings.store()
    names = [latest(store.db).id] if opts.latest else list(opts.containers)
    for name in names:
        need_here(find(store, name), "reading what it uses, of")
    before: dict[str, Sample] = {}
    clears = os.isatty(1) and not opts.no_reset and not opts.no_stream
    while True:
        containers = _chosen(store, names, opts.all)
        found = take(containers)
        write((_CLEAR if clears else "") + _report(containers, found, before, opts))
        if opts.no_stream or (names and not found):
            return 0
        before = found
        time.sleep(max(opts.interval, 0.1))


def _chosen(store: Any, names: list[str], everything: bool) -> list[Container]:
    if not names:
        return refresh_all(store, warn, alive=not everything)
    found = []
    for name in names:
        try:
            found.append(find(store, name))
        except NotFoundError:  # removed since it was first looked at
            continue
    return found


def _report(containers: list[Container], found: dict[str, Sample], before: dict[str, Sample], opts: Opts) -> str:
    rows = []
    for container in containers:
        sample = found.get(container.id)
        used = usage(container, sample, before.get(container.id)) if sample else None
        rows.append(_fields(container, used, opts.no_trunc))
    if opts.format == "json":
        return pretty_json([_json(row) for row in rows], " ") + "\n"
    from rootless.cli.template import rows as render
    from rootless.cli.template.values import Structure

    return render(opts.format or _TABLE, [Structure(row) for row in rows], _HEADINGS)


def _fields(container: Container, used: Usage | None, full: bool) -> dict[str, Any]:
    """What `--format` can name."""
    identifier = container.id if full else short(container.id)
    values: dict[str, Any] = dict.fromkeys(
        ("CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS", "CPUTime", "AvgCPU", "MemUsageBytes"), _NOTHING
    )
    values |= dict.fromkeys(("CPUPressure", "MemPressure", "IOPressure"), _NOTHING)
    if used is not None:
        sample = used.sample
        network = _NOTHING + " / " + _NOTHING
        if sample.received is not None and sample.sent is not None:
            network = _pair(sample.received, sample.sent)
        values |= {
            "CPUPerc": f"{used.percent:.2f}%",
            "MemUsage": _pair(sample.memory, used.limit),
            "MemUsageBytes": f"{_binary(sample.memory)} / {_binary(used.limit)}",
            "MemPerc": f"{used.memory_percent:.2f}%",
            "NetIO": network,
            "BlockIO": _pair(sample.read, sample.written),
            "PIDS": str(sample.pids),
            "CPUTime": go_duration(sample.cpu),
            "AvgCPU": f"{used.average:.2f}%",
            "CPUPressure": _pressure(sample, "cpu"),
            "MemPressure": _pressure(sample, "memory"),
            "IOPressure": _pressure(sample, "io"),
        }
    values |= {"CPU": values["CPUPerc"], "Mem": values["MemPerc"], "PIDs": values["PIDS"], "CPUNano": values["CPUTime"]}
    return {"ID": identifier, "ContainerID": container.id, "Name": container.name, "Container": container.id, **values}


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """Podman's keys, and those of the pressure, which Podman lacks."""
    return {
        "id": short(row["ContainerID"]),
        "name": row["Name"],
        "cpu_time": row["CPUTime"],
        "cpu_percent": row["CPUPerc"],
        "avg_cpu": row["AvgCPU"],
        "mem_usage": row["MemUsage"],
        "mem_percent": row["MemPerc"],
        "net_io": row["NetIO"],
        "block_io": row["BlockIO"],
        "pids": row["PIDS"],
        "cpu_pressure": row["CPUPressure"],
        "mem_pressure": row["MemPressure"],
        "io_pressure": row["IOPressure"],
    }


def _pressure(sample: Sample, kind: str) -> str:
    """Shares of the last ten seconds in which some, and all, of its processes have waited; `--` where unknown."""
    if kind not in sample.pressure:
        return _NOTHING
    some, full = sample.pressure[kind]
    return f"some {some:.2f}% full {full:.2f}%"


def _pair(first: int, second: int) -> str:
    return f"{compact_size(first)} / {compact_size(second)}"


def _binary(size: float) -> str:
    unit = 0
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    while size >= 1024 and unit < len(units) - 1:
        size /= 1024
        unit += 1
    return f"{size:.4g}{units[unit]}"
