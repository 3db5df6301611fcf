"""Times as users write them: RFC 3339, Unix seconds, or how long ago (10m, 1h30m)."""

from __future__ import annotations

import time

from rootless.errors import UsageError
from rootless.times import seconds_of

__all__ = ["go_duration", "moment_of", "seconds_of"]


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


def go_duration(seconds: float) -> str:
    """A span of time as Go prints it: "1h2m3.5s", "12.5ms", "0s"."""
    nanoseconds = round(abs(seconds) * 1_000_000_000)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1000, "µs"), (1, "ns")):
            if nanoseconds >= size:
                return f"{sign}{_decimal(nanoseconds, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = f"{rest:0{len(str(size)) - 1}}".rstrip("0") if size > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
