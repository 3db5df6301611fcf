"""Times as users write them: RFC 3339, Unix seconds, or how long ago (10m, 1h30m)."""

from __future__ import annotations

import time

from rootless.errors import UsageError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: str) -> float:
    """Seconds of a duration in Go's notation ("90s", "1h30m", "1.5h"). Raises ValueError."""
    rest = text
    total = 0.0
    while rest:
        size = 0
        while size < len(rest) and (rest[size].isdecimal() or rest[size] == "."):
            size += 1
        end = size
        while end < len(rest) and not (rest[end].isdecimal() or rest[end] == "."):
            end += 1
        total += float(rest[:size]) * _UNITS.get(rest[size:end], float("nan"))
        rest = rest[end:]
    if not text or total != total:
        raise ValueError(f"{text!r} is not a duration")
    return total


def moment_of(text: str) -> float:
    """The moment that `text` names, in seconds since 1970. Raises UsageError."""
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return float(text)
    try:
        return time.time() - seconds_of(text)
    except ValueError:
        pass
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time", "write 10m, 1h30m, 2024-05-01T12:00:00Z, or seconds since 1970"
        ) from None
