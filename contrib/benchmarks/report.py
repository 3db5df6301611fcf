"""What a row found, and the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """Medians of both engines in `unit`. `judged` is what `must` and `goal` bound: their ratio, or a figure of ours."""

    row: str
    title: str
    unit: str
    ours: float | None
    theirs: float | None
    judged: float | None
    must: float
    goal: float
    spread: str = ""
    note: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        return self.judged is not None and self.judged <= self.must

    @property
    def verdict(self) -> str:
        if self.judged is None:
            return "FAILED"
        if self.judged <= self.goal:
            return "goal"
        return "must" if self.judged <= self.must else "MISSED"

    def plain(self) -> dict[str, Any]:
        names = [name for name in self.__slots__ if name != "samples"]
        return {**{name: getattr(self, name) for name in names}, "verdict": self.verdict, "samples": self.samples}


def figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} {unit}" if unit else f"{value:.2f}"


def print_table(versions: dict[str, str], results: list[Result]) -> None:
    print("\n" + "; ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
    header = ("row", "rootless", "podman", "ratio", "must", "goal", "verdict", "spread (rootless, podman)")
    lines = [header]
    for result in results:
        lines.append(
            (
                result.row,
                figure(result.ours, result.unit),
                figure(result.theirs, result.unit),
                figure(result.judged, ""),
                figure(result.must, ""),
                figure(result.goal, ""),
                result.verdict,
                result.spread,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for result in results:
        if result.note:
            print(f"\n{result.row}: {result.note}")
