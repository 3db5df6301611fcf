"""The rows of the comparison. Each runs the same work in both engines."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contrib.benchmarks.engines import IMAGE, Bench, Engine
from contrib.benchmarks.report import Result

SIDE_BY_SIDE = 32
MONITORS = 20
MIB = 1 << 20

_SIDE_BY_SIDE = """\
for n in $(seq {count}); do {command} & all="$all $!"; done
for p in $all; do wait $p || exit 1; done
"""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    title: str
    must: float
    goal: float
    run: Callable[[Row, Bench], Result]
    big: bool = False

    def measure(self, bench: Bench) -> Result:
        return self.run(self, bench)

    def failed(self, error: subprocess.CalledProcessError) -> Result:
        told = str(error.stderr or error.stdout or "").strip()[-600:]
        note = f"{' '.join(map(str, error.cmd))}: exit {error.returncode}: {told}"
        return Result(self.name, self.title, "ms", None, None, None, self.must, self.goal, note=note)

    def ratio(self, samples: dict[str, list[float]], unit: str = "ms") -> Result:
        factor = 1000 if unit == "ms" else 1
        ours, theirs = ([second * factor for second in samples[name]] for name in ("rootless", "podman"))
        judged = statistics.median(ours) / statistics.median(theirs)
        spread = f"{quartiles(ours)}, {quartiles(theirs)}"
        middle = statistics.median(ours), statistics.median(theirs)
        found = {"rootless": ours, "podman": theirs}
        return Result(self.name, self.title, unit, *middle, judged, self.must, self.goal, spread, samples=found)


def quartiles(values: list[float]) -> str:
    if len(values) < 4:
        return f"{min(values):.1f}-{max(values):.1f}"
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.1f}-{high:.1f}"


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
        for _ in range(bench.many):
            engine.run(f"create --network none {IMAGE} true")
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


def big_image(row: Row, bench: Bench, words: str) -> Result:
    """`words` brings in the big image, each time into a new store. Nothing is deleted in between: for minutes ext4
    passes over the inodes of files that are gone, one by one, at every file that is made."""
    prepare, commands = [], []
    for engine in bench.engines:
        place = bench.work / "fresh" / row.name / engine.name
        place.mkdir(parents=True)
        options = f"--root {place}/store --runroot {place}/run"
        script = place / "prepare"
        lines = [f"cd {place}", "[ ! -e store ] || mv store used-$(date +%s%N)"]
        lines += [engine.command(f"{options} images"), "sync"]
        script.write_text("\n".join(lines))
        prepare.append(f"sh {script}")
        commands.append(engine.command(f"{options} {words}"))
    return row.ratio(bench.time(commands[0], commands[1], 6, prepare, warmup=0))


def pull(row: Row, bench: Bench) -> Result:
    name = f"{bench.registry()}/big:latest"
    return big_image(row, bench, f"pull -q --tls-verify=false {name}")


def load(row: Row, bench: Bench) -> Result:
    return big_image(row, bench, f"load -q -i {bench.scratch}/big.tar")


def store_of(engine: Engine, bench: Bench) -> Path:
    return bench.work / "data" / ("rootless" if engine is bench.ours else "containers/storage")


def monitors(row: Row, bench: Bench) -> Result:
    """PSS of the parent of pid 1: conmon there, our monitor here."""
    found = {}
    for engine in bench.engines:
        engine.remove_all()
        names = [engine.run(f"run -d --network none {IMAGE} sleep 100000") for _ in range(MONITORS)]
        pids = engine.run("inspect --format {{.State.Pid}} " + " ".join(names)).split()
        found[engine.name] = [pss(parent(int(pid))) / MIB for pid in pids]
        engine.remove_all()
    ours, theirs = (statistics.mean(found[engine.name]) for engine in bench.engines)
    spread = f"{quartiles(found['rootless'])}, {quartiles(found['podman'])}"
    return Result(
        row.name, row.title, "MiB", ours, theirs, ours, row.must, row.goal, spread, "judged is MiB of ours", found
    )


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pss(pid: int) -> int:
    """Proportional set size in bytes: proc_pid_smaps(5)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise ValueError(f"no Pss of {pid}")


def store_bytes(row: Row, bench: Bench) -> Result:
    """What the stores grow by through one pull, less the extracted layers, against the size of the compressed blobs."""
    name = f"{bench.registry()}/big:latest"
    compressed = sum(layer["size"] for layer in bench.manifest()["layers"])
    extras = []
    for engine, layers in zip(bench.engines, ("layers/*/diff", "overlay/*/diff"), strict=True):
        store = store_of(engine, bench)
        before = disk_bytes(str(store)) - disk_bytes(f"{store}/{layers}")
        engine.run(f"pull -q --tls-verify=false {name}")
        extras.append(disk_bytes(str(store)) - disk_bytes(f"{store}/{layers}") - before)
        engine.run(f"rmi -f {name}")
    note = f"judged is our bytes beyond the extracted layers over the compressed blobs ({compressed / MIB:.1f} MiB)"
    ours, theirs = (extra / MIB for extra in extras)
    return Result(row.name, row.title, "MiB", ours, theirs, extras[0] / compressed, row.must, row.goal, note=note)


def disk_bytes(pattern: str) -> int:
    """Blocks on disk below all paths of `pattern`, seen from a user namespace in which every file is ours."""
    script = f"du -s -c -B1 {pattern} | tail -n 1 | cut -f1"
    done = subprocess.run(["podman", "unshare", "sh", "-c", script], check=True, capture_output=True, text=True)
    return int(done.stdout)


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
    Row("pull", "pull of the big image from a registry on loopback", 0.6, 0.4, pull, big=True),
    Row("load", "load of the big image from a docker-archive", 0.6, 0.4, load, big=True),
    Row("monitor", "PSS of the monitor of a detached container, of 20", 4.5, 3.0, monitors),
    Row("store", "bytes on disk beyond the extracted layers", 1.02, 1.01, store_bytes, big=True),
)
