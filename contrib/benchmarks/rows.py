"""The rows of the comparison. Each runs the same work in both engines."""

from __future__ import annotations

from contrib.benchmarks import bigrows, manyrows
from contrib.benchmarks.engines import IMAGE, Bench
from contrib.benchmarks.report import Result
from contrib.benchmarks.row import Row

SIDE_BY_SIDE = 32

_SIDE_BY_SIDE = """\
for n in $(seq {count}); do {command} & all="$all $!"; done
for p in $all; do wait $p || exit 1; done
"""


def both(row: Row, bench: Bench, words: str, runs: int = 0, prepare: str | None = None) -> Result:
    """The same command line for both; `prepare` likewise, untimed, before each run."""
    before = [engine.command(prepare) for engine in bench.engines] if prepare else None
    ours, theirs = (engine.command(words) for engine in bench.engines)
    return row.ratio(bench.time(ours, theirs, runs or bench.runs, before))


def run_none(row: Row, bench: Bench) -> Result:
    return both(row, bench, f"run --rm --network none {IMAGE} true")


def run_slirp(row: Row, bench: Bench) -> Result:
    return both(row, bench, f"run --rm --network slirp4netns {IMAGE} true")


def run_detached(row: Row, bench: Bench) -> Result:
    try:
        return both(row, bench, f"run -d --network none {IMAGE} sleep 1000", bench.runs // 2, "rm -f -a -t 0")
    finally:
        for engine in bench.engines:
            engine.remove_all()


def with_one_running(bench: Bench) -> None:
    for engine in bench.engines:
        engine.remove_all()
        engine.run(f"run -d --name bench --network none {IMAGE} sleep 100000")


def exec_true(row: Row, bench: Bench) -> Result:
    with_one_running(bench)
    return both(row, bench, "exec bench true")


def ps_one(row: Row, bench: Bench) -> Result:
    with_one_running(bench)
    return both(row, bench, "ps -a")


def ps_many(row: Row, bench: Bench) -> Result:
    for engine in bench.engines:
        engine.remove_all()
        bench.do(manyrows.side_by_side(bench, engine, row.name, f"create --network none {IMAGE} true", bench.many))
    try:
        return both(row, bench, "ps -a", bench.runs // 2)
    finally:
        for engine in bench.engines:
            engine.remove_all()


def inspect(row: Row, bench: Bench) -> Result:
    with_one_running(bench)
    return both(row, bench, "inspect bench")


def images(row: Row, bench: Bench) -> Result:
    return both(row, bench, "images")


def side_by_side(row: Row, bench: Bench) -> Result:
    commands = []
    for engine in bench.engines:
        engine.remove_all()
        script = bench.work / f"side-by-side-{engine.name}"
        command = engine.command(f"run --rm --network none {IMAGE} true")
        script.write_text(_SIDE_BY_SIDE.format(count=SIDE_BY_SIDE, command=command))
        commands.append(f"sh {script}")
    return row.ratio(bench.time(commands[0], commands[1], 8))


ROWS = (
    Row("run-none", "run --rm --network none true", 0.5, 0.35, run_none),
    Row("run-slirp", "run --rm --network slirp4netns true", 0.55, 0.4, run_slirp),
    Row("exec", "exec true in a running container", 0.35, 0.2, exec_true),
    Row("run-d", "run -d, until the id is printed", 0.7, 0.5, run_detached),
    Row("ps-1", "ps -a with one container", 0.75, 0.5, ps_one),
    Row("ps-many", "ps -a with many containers", 0.75, 0.5, ps_many),
    Row("inspect", "inspect of one container", 0.75, 0.5, inspect),
    Row("images", "images", 0.75, 0.5, images),
    Row("run-32", "32 run --rm --network none side by side", 0.5, 0.35, side_by_side),
    *manyrows.ROWS,
    *bigrows.ROWS,
)
