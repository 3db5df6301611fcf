"""Spans of time as Go's programs write them."""

from __future__ import annotations

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
