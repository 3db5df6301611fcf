"""The rows with an image of 500 MB: the way in, the way out, and the memory that they take; skopeo stands beside."""

from __future__ import annotations

import statistics
import subprocess

from contrib.benchmarks.engines import Bench
from contrib.benchmarks.memory import peak
from contrib.benchmarks.report import Result
from contrib.benchmarks.row import MIB, Row

_RUNS = 6
_BIG = "docker.io/library/big:latest"


def into_new_stores(row: Row, bench: Bench, words: str) -> tuple[list[str], list[str]]:
    """Command lines for both engines and skopeo's store that bring in the big image, each time into a new store, and
    what makes that. Nothing is deleted in between: for minutes ext4 passes over the inodes of files that are gone, one
    by one, at every file that is made."""
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
    return commands, prepare


def skopeo_into_new_store(row: Row, bench: Bench, source: str) -> tuple[str, str]:
    place = bench.work / "fresh" / row.name / "skopeo"
    place.mkdir(parents=True)
    script = place / "prepare"
    script.write_text(f"cd {place}\n[ ! -e store ] || mv store used-$(date +%s%N)\nsync\n")
    target = f"containers-storage:[overlay@{place}/store+{place}/run]{_BIG}"
    return f"skopeo copy -q --src-tls-verify=false {source} {target}", f"sh {script}"


def way_in(row: Row, bench: Bench, words: str, source: str) -> Result:
    commands, prepare = into_new_stores(row, bench, words)
    samples = bench.time(commands[0], commands[1], _RUNS, prepare, warmup=0)
    command, before = skopeo_into_new_store(row, bench, source)
    return row.ratio(samples, note=beside(bench.time_one(command, 3, before), samples))


def beside(skopeo: list[float], samples: dict[str, list[float]]) -> str:
    middle = statistics.median(skopeo)
    ratio = statistics.median(samples["rootless"]) / middle
    return f"skopeo takes {middle * 1000:.0f} ms: our ratio to it is {ratio:.2f}"


def pull(row: Row, bench: Bench) -> Result:
    name = f"{bench.registry()}/big:latest"
    return way_in(row, bench, f"pull -q --tls-verify=false {name}", f"docker://{name}")


def load(row: Row, bench: Bench) -> Result:
    return way_in(row, bench, f"load -q -i {bench.scratch}/big.tar", f"docker-archive:{bench.scratch}/big.tar")


def with_big(bench: Bench) -> None:
    for engine in bench.engines:
        engine.run(f"load -q -i {bench.scratch}/big.tar")


def save(row: Row, bench: Bench) -> Result:
    """Into a file that is new each time."""
    with_big(bench)
    targets = [bench.work / f"saved-{name}.tar" for name in ("rootless", "podman", "skopeo")]
    prepare = [f"rm -f {target}" for target in targets]
    ours, theirs = (
        engine.command(f"save -q -o {path} {_BIG}") for engine, path in zip(bench.engines, targets[:2], strict=True)
    )
    samples = bench.time(ours, theirs, _RUNS, prepare[:2])
    skopeo = bench.time_one(f"skopeo copy -q containers-storage:{_BIG} docker-archive:{targets[2]}", 3, prepare[2])
    return row.ratio(samples, note=beside(skopeo, samples))


def memory(row: Row, bench: Bench, commands: list[str], prepare: list[str], skopeo: tuple[str, str]) -> Result:
    found = []
    for command, before in zip([*commands, skopeo[0]], [*prepare, skopeo[1]], strict=True):
        subprocess.run(before, shell=True, check=True, capture_output=True)
        found.append(peak(command) / MIB)
    samples = {"rootless": found[:1], "podman": found[1:2]}
    return row.ratio(samples, "MiB", f"skopeo takes {found[2]:.0f} MiB")


def pull_memory(row: Row, bench: Bench) -> Result:
    name = f"{bench.registry()}/big:latest"
    commands, prepare = into_new_stores(row, bench, f"pull -q --tls-verify=false {name}")
    return memory(row, bench, commands, prepare, skopeo_into_new_store(row, bench, f"docker://{name}"))


def load_memory(row: Row, bench: Bench) -> Result:
    archive = bench.scratch / "big.tar"
    commands, prepare = into_new_stores(row, bench, f"load -q -i {archive}")
    return memory(row, bench, commands, prepare, skopeo_into_new_store(row, bench, f"docker-archive:{archive}"))


def save_memory(row: Row, bench: Bench) -> Result:
    with_big(bench)
    target = bench.work / "saved-memory.tar"
    commands = [engine.command(f"save -q -o {target} {_BIG}") for engine in bench.engines]
    skopeo = f"skopeo copy -q containers-storage:{_BIG} docker-archive:{target}"
    return memory(row, bench, commands, [f"rm -f {target}"] * 2, (skopeo, f"rm -f {target}"))


def store_bytes(row: Row, bench: Bench) -> Result:
    """What the stores grow by through one pull, less the extracted layers, against the size of the compressed blobs."""
    name = f"{bench.registry()}/big:latest"
    compressed = sum(layer["size"] for layer in bench.manifest()["layers"])
    extras = []
    for engine, layers in zip(bench.engines, ("layers/*/diff", "overlay/*/diff"), strict=True):
        engine.run(f"rmi -f {_BIG}", check=False)
        store = bench.store_of(engine)
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
    Row("pull", "pull of the big image from a registry on loopback", 0.6, 0.4, pull, big=True),
    Row("load", "load of the big image from a docker-archive", 0.6, 0.4, load, big=True),
    Row("save", "save of the big image into a docker-archive", 1.0, 0.6, save, big=True),
    Row("pull-memory", "peak memory (PSS) of the pull, all processes", 1.0, 0.5, pull_memory, big=True),
    Row("load-memory", "peak memory (PSS) of the load, all processes", 1.0, 0.5, load_memory, big=True),
    Row("save-memory", "peak memory (PSS) of the save, all processes", 1.0, 0.5, save_memory, big=True),
    Row("store", "bytes on disk beyond the extracted layers", 1.02, 1.01, store_bytes, big=True),
)
