"""Times as programs in Go write them: spans ("1h30m"), and moments (RFC 3339)."""

from __future__ import annotations

import time

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


def nanoseconds_of(text: str) -> int:
    """The same in nanoseconds; "0" needs no unit. Raises ValueError."""
    if text == "0":
        return 0
    try:
        return round(seconds_of(text) * 1e9)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a duration") from None


def rfc3339(moment: float) -> str:
    """`moment`, in Unix seconds, as RFC 3339 in UTC; Go's zero time where there was no such moment."""
    if not moment:
        return "0001-01-01T00:00:00Z"
    whole = int(moment)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((moment - whole) * 1e9):09d}Z"
