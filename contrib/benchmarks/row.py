"""What a row of the comparison is, and how two series of times become one."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from contrib.benchmarks.engines import Bench
from contrib.benchmarks.report import Result

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """`must` and `goal` bound what `run` judges: a ratio to podman, or a figure of ours. `big`: needs the big image."""

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
        words = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd))
        note = f"{words}: exit {error.returncode}: {told}"
        return Result(self.name, self.title, "ms", None, None, None, self.must, self.goal, note=note)

    def ratio(self, samples: dict[str, list[float]], unit: str = "ms", note: str = "") -> Result:
        factor = 1000 if unit == "ms" else 1
        ours, theirs = ([value * factor for value in samples[name]] for name in ("rootless", "podman"))
        judged = statistics.median(ours) / statistics.median(theirs)
        spread = f"{quartiles(ours)}, {quartiles(theirs)}"
        middle = statistics.median(ours), statistics.median(theirs)
        found = {"rootless": ours, "podman": theirs}
        return Result(self.name, self.title, unit, *middle, judged, self.must, self.goal, spread, note, found)


def quartiles(values: list[float]) -> str:
    if len(values) < 4:
        return f"{min(values):.1f}-{max(values):.1f}"
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.1f}-{high:.1f}"
