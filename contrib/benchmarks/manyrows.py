"""The rows with many containers at once: started and stopped side by side, and how many fit."""

from __future__ import annotations

import statistics
import time

from contrib.benchmarks.engines import IMAGE, Bench, Engine
from contrib.benchmarks.memory import parent, pss
from contrib.benchmarks.report import Result
from contrib.benchmarks.row import MIB, Row, quartiles

HUNDRED = 100
DENSE = 500
DENSE_PEER = 100  # podman takes as long for these as we do for all of ours
AT_ONCE = 16
_RUNS = 3

_SIDE_BY_SIDE = """\
seq {count} | xargs -P {at_once} -I N {command} > /dev/null
"""


def side_by_side(bench: Bench, engine: Engine, name: str, words: str, count: int) -> str:
    """A command line that has `words` done for N = 1 to `count`, 16 at once."""
    script = bench.work / f"{name}-{engine.name}"
    script.write_text(_SIDE_BY_SIDE.format(count=count, at_once=AT_ONCE, command=engine.command(words)))
    return f"sh {script}"


def hundred(bench: Bench) -> None:
    words = f"create --name manyN --network none {IMAGE} sleep 100000"
    for engine in bench.engines:
        engine.remove_all()
        bench.do(side_by_side(bench, engine, "create", words, HUNDRED))


def start_many(row: Row, bench: Bench) -> Result:
    hundred(bench)
    try:
        commands = [side_by_side(bench, engine, row.name, "start manyN", HUNDRED) for engine in bench.engines]
        prepare = [engine.command("stop -a -t 0") for engine in bench.engines]
        return row.ratio(bench.time(commands[0], commands[1], _RUNS, prepare, warmup=0))
    finally:
        for engine in bench.engines:
            engine.remove_all()


def stop_many(row: Row, bench: Bench) -> Result:
    hundred(bench)
    try:
        prepare = [side_by_side(bench, engine, row.name, "start manyN", HUNDRED) for engine in bench.engines]
        commands = [engine.command("stop -a -t 0") for engine in bench.engines]
        return row.ratio(bench.time(commands[0], commands[1], _RUNS, prepare, warmup=0))
    finally:
        for engine in bench.engines:
            engine.remove_all()


def monitors(row: Row, bench: Bench) -> Result:
    """PSS of the parent of pid 1: conmon there, our monitor here."""
    found = {}
    for engine in bench.engines:
        engine.remove_all()
        bench.do(side_by_side(bench, engine, row.name, f"run -d --network none {IMAGE} sleep 100000", HUNDRED))
        found[engine.name] = [size / MIB for size in monitor_sizes(engine)]
        engine.remove_all()
    ours, theirs = (statistics.mean(found[engine.name]) for engine in bench.engines)
    spread = f"{quartiles(found['rootless'])}, {quartiles(found['podman'])}"
    return Result(
        row.name, row.title, "MiB", ours, theirs, ours, row.must, row.goal, spread, "judged is MiB of ours", found
    )


def monitor_sizes(engine: Engine) -> list[int]:
    """Bytes (PSS) of each running container's monitor."""
    pids = engine.run("ps --format {{.Pid}}").split()
    return [pss(parent(int(pid))) for pid in pids]


def density(row: Row, bench: Bench) -> Result:
    """Detached containers started 16 at once, listed, stopped, removed: seconds for each step by the hundred."""
    found: dict[str, list[float]] = {}
    told = []
    for engine, count in zip(bench.engines, (DENSE, DENSE_PEER), strict=True):
        engine.remove_all()
        run = side_by_side(bench, engine, row.name, f"run -d --network none {IMAGE} sleep 100000", count)
        times = [timed(bench, command) for command in (run, engine.command("ps"))]
        running = len(engine.run("ps -q").split())
        memory = sum(monitor_sizes(engine)) / MIB
        times += [timed(bench, engine.command(words)) for words in ("stop -a -t 0", "rm -a")]
        if running != count:
            raise ValueError(f"{engine.name}: {running} of {count} containers run")
        steps = zip(("started", "listed", "stopped", "removed"), times, strict=True)
        what = ", ".join(f"{step} in {seconds:.2f} s" for step, seconds in steps)
        told.append(f"{engine.name}: {count} {what}; their monitors take {memory:.0f} MiB together")
        found[engine.name] = [sum(times) * HUNDRED / count]
    return row.ratio({name: found[name] for name in ("rootless", "podman")}, "s", "; ".join(told))


def timed(bench: Bench, command: str) -> float:
    begun = time.monotonic()
    bench.do(command)
    return time.monotonic() - begun


ROWS = (
    Row("start-100", "start of 100 stopped containers, 16 at once", 0.75, 0.5, start_many),
    Row("stop-100", "stop -a -t 0 of 100 containers", 0.75, 0.5, stop_many),
    Row("monitor", "PSS of the monitor of a detached container, of 100", 4.5, 3.0, monitors),
    Row("density", "100 of 500 (podman: of 100) detached containers: run, ps, stop, rm", 0.75, 0.5, density),
)
