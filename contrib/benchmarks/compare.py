#!/usr/bin/env python3
"""rootless beside podman 5.4 with crun, on one kernel, in one run, as ratios of medians.

    sudo contrib/benchmarks/compare.py [--only ROW]... [--runs N] [--many N] [--json FILE] [--noisy] [--list]

Root is needed to make and enter the Debian tree in which both run as an ordinary user (contrib/peer-root). The wheel of
this checkout is installed there into a virtual environment, as users do it. Both engines get the same images, the same
file system, and take turns, so that whatever else the machine does hits both. docs/PERFORMANCE.md explains the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from contrib.benchmarks.engines import Bench, fail
from contrib.benchmarks.report import print_table
from contrib.benchmarks.rows import ROWS
from contrib.benchmarks.testimages import big_archive
from tests.support.images import busybox_archive

TREE = Path(__file__).resolve().parents[2]
PYTHON = "3.13"  # Debian trixie's


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare rootless with podman 5.4.")
    parser.add_argument(
        "--only", action="append", choices=[row.name for row in ROWS], metavar="ROW", help="this row (may be repeated)"
    )
    parser.add_argument("--runs", type=int, default=40, help="timed runs of each short command (default 40)")
    parser.add_argument(
        "--many", type=int, default=1000, help="containers that `ps` lists in the row ps-many (default 1000)"
    )
    parser.add_argument(
        "--megabytes", type=int, default=500, help="size of the image that is pulled and loaded (default 500)"
    )
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--noisy", action="store_true", help="measure although the machine is busy")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument(
        "--scratch", type=Path, default=Path("/var/tmp/rootless-bench"), help="where wheels, images and stores are kept"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.list:
        for row in ROWS:
            print(f"{row.name:12} {row.title}")
        return 0
    if arguments.inside:
        return measure(arguments)
    if os.getuid() != 0:
        fail("comparing with podman needs root", f"sudo {Path(__file__)}")
    prepare(arguments)
    return enter(arguments)


def prepare(arguments: argparse.Namespace) -> None:
    """Everything that needs the outside: the peer's tree, the wheels, the images."""
    scratch: Path = arguments.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    subprocess.run([TREE / "contrib/peer-root", "build"], check=True)
    wheels = scratch / "wheels"
    wheels.mkdir(exist_ok=True)
    wanted = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["dependencies"]
    marker = wheels / "complete.json"
    if not marker.exists() or json.loads(marker.read_text()) != wanted:
        pip("download", "--dest", str(wheels), "--only-binary=:all:", f"--python-version={PYTHON}", *wanted)
        marker.write_text(json.dumps(wanted))
    for old in wheels.glob("rootless-*.whl"):
        old.unlink()
    pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(TREE))
    if not (scratch / "busybox.tar").exists():
        busybox_archive(scratch)
    if needs_big(arguments):
        big_archive(scratch / "big.tar", peer_tree(), arguments.megabytes << 20)
    work = scratch / "work"
    if work.exists():
        work.rename(scratch / f"used-{time.time_ns()}")
    work.mkdir()
    os.chown(work, 1000, 1000)


def needs_big(arguments: argparse.Namespace) -> bool:
    return not arguments.only or any(row.big for row in ROWS if row.name in arguments.only)


def peer_tree() -> Path:
    shown = subprocess.run([TREE / "contrib/peer-root", "path"], check=True, capture_output=True, text=True)
    return Path(shown.stdout.strip())


def pip(command: str, *words: str) -> None:
    quiet = ["-m", "pip", command, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([sys.executable, *quiet, *words], capture_output=True, text=True)
    if done.returncode:
        fail(
            f"pip {command} failed:\n{done.stderr}",
            "a package index must be reachable, and pip be there for this python3",
        )


def enter(arguments: argparse.Namespace) -> int:
    """Run this program again as the ordinary user of the peer's tree."""
    words = ["/tree/contrib/benchmarks/compare.py", "--inside", *sys.argv[1:]]
    result = arguments.scratch / "work/result.json"
    words += ["--scratch", "/bench", "--json", "/bench/work/result.json"]
    environment = {**os.environ, "PEER_BIND": f"{TREE}:/tree {arguments.scratch}:/bench"}
    environment["PEER_ENV"] = "PYTHONDONTWRITEBYTECODE=1 XDG_DATA_HOME=/bench/work/data"
    done = subprocess.run(
        [TREE / "contrib/peer-root", "run", "python3", *words], env=environment, stdin=subprocess.DEVNULL
    )
    if arguments.json and result.exists():
        shutil.copy(result, arguments.json)
    # What earlier runs left is deleted last: file systems are slow for a while after that.
    for used in (*arguments.scratch.glob("used-*"), arguments.scratch / "work/fresh"):
        shutil.rmtree(used, ignore_errors=True)
    return done.returncode


def measure(arguments: argparse.Namespace) -> int:
    bench = Bench(arguments.scratch, arguments.runs, arguments.many)
    if not arguments.noisy:
        bench.demand_quiet()
    bench.install()
    results = []
    try:
        for row in ROWS:
            if arguments.only and row.name not in arguments.only:
                continue
            print(f"measuring {row.name}: {row.title}", file=sys.stderr, flush=True)
            try:
                results.append(row.measure(bench))
            except subprocess.CalledProcessError as error:
                results.append(row.failed(error))
    finally:
        bench.clean_up()
    print_table(bench.versions(), results)
    arguments.json.write_text(
        json.dumps({"versions": bench.versions(), "rows": [r.plain() for r in results]}, indent=1)
    )
    return 0 if all(result.passes for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
