"""Signals by name and number, without the `signal` module (enum: 5 ms)."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from rootless.errors import UsageError

DEFAULT_TIMEOUT = 10  # seconds between the signal that asks a container to end and SIGKILL


def parse_signal(text: str) -> int:
    """`TERM`, `SIGTERM`, `15`, `RTMIN+3` as a number. Raises UsageError."""
    name = text.upper()
    if name.isascii() and name.isdigit() and len(name) < 4:
        if 1 <= int(name) < int(_signal.NSIG):
            return int(name)
    else:
        name = name if name.startswith("SIG") else "SIG" + name
        base, sign, offset = name.partition("+")
        found = getattr(_signal, base, None)
        if isinstance(found, int) and not base.startswith("SIG_"):
            if not sign:
                return int(found)
            if base == "SIGRTMIN" and offset.isdigit() and int(found) + int(offset) <= int(_signal.SIGRTMAX):
                return int(found) + int(offset)
    raise UsageError(f"signal {text}: there is none of that name or number", "see signal(7)")


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; the number where it has no name."""
    for name in dir(_signal):
        if name.startswith("SIG") and not name.startswith("SIG_") and getattr(_signal, name) == number:
            return name
    return str(number)
