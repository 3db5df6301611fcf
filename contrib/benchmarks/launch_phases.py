#!/usr/bin/env python3
"""Where the milliseconds of a container's start go in the runtime alone: no store, no command line, no network helper.

    contrib/benchmarks/launch_phases.py [ROUNDS]

Starts `true` on a directory with the host's static busybox, all namespaces but time, default mounts, capabilities and
seccomp filter, and prints the median and the least of each phase in milliseconds. Run it as an ordinary user.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rootless.kernel.capabilities import DEFAULT
from rootless.kernel.idmaps import default_user_map
from rootless.runtime.launch import begin
from rootless.runtime.seccomp_profile import program
from tests.support.runtime import PRIVATE, config, make_rootfs

PHASES = (
    "begin: clone",
    "choose ids",
    "start newuidmap, newgidmap",
    "maps in force, plan sent",
    "prepared",
    "exec",
    "end",
)


def one(rootfs: Path, seccomp: bytes) -> list[float]:
    """Milliseconds of each phase of one start."""
    cfg = config(rootfs, "true")
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    started = begin(PRIVATE)
    mark()
    user_map = default_user_map()
    mark()
    started.map_ids(user_map)
    mark()
    started.send({"config": cfg, "seccomp": seccomp})
    mark()
    started.wait_prepared()
    mark()
    started.execute()
    mark()
    os.waitpid(started.init_pid, 0)
    mark()
    os.close(started.pidfd)
    os.close(started.userns_fd)
    return [(after - before) * 1000 for before, after in pairwise(marks)]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as place:
        rootfs = make_rootfs(Path(place) / "rootfs")
        seccomp = program(None, list(DEFAULT))
        one(rootfs, seccomp)
        samples = [one(rootfs, seccomp) for _ in range(rounds)]
    print(f"{'phase':28} median  least")
    for name, values in zip((*PHASES, "whole"), (*zip(*samples, strict=True), [sum(s) for s in samples]), strict=True):
        print(f"{name:28} {statistics.median(values):6.2f} {min(values):6.2f}")


if __name__ == "__main__":
    main()
