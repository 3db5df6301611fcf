"""`--ulimit` as the runtime wants it. Loaded where it is used."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.runtime.credentials import RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def rlimits(given: list[str]) -> list[dict[str, Any]]:
    """`NAME=SOFT[:HARD]`, the last of a name counts; `host` leaves the limits of who starts it. Raises UsageError."""
    limits: dict[str, dict[str, Any]] = {}
    for text in given:
        if text == "host":
            continue
        name, _, values = text.partition("=")
        soft, _, hard = values.partition(":")
        try:
            numbers = [-1 if value in ("-1", "unlimited") else int(value) for value in (soft, hard or soft)]
        except ValueError:
            numbers = []
        if not name or not numbers or min(numbers) < -1 or max(numbers) >= 1 << 63:
            raise UsageError(f'--ulimit "{text}": not a limit', "write it like nofile=1024:4096")
        kind = "RLIMIT_" + name.upper()
        if kind not in RLIMITS:
            known = " ".join(name.removeprefix("RLIMIT_").lower() for name in RLIMITS)
            raise UsageError(f'--ulimit "{text}": there is no limit of that name', f"one of: {known}")
        if numbers[1] != -1 and not 0 <= numbers[0] <= numbers[1]:
            raise UsageError(f'--ulimit "{text}": the soft limit is above the hard one')
        limits[kind] = {"type": kind, "soft": numbers[0], "hard": numbers[1]}
    if "host" in given and limits:
        raise UsageError("--ulimit host contradicts the other limits", "leave one of them out")
    return list(limits.values())
