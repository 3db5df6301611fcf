"""Limits that an image has to keep, for scripts that build images: dive's names, and dive's values for `--ci`."""

from __future__ import annotations

from rootless.cli.output import human_size
from rootless.errors import UsageError
from storage.images.analysis import Analysis

DISABLED = "disabled"
_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def share_of(text: str, option: str) -> float | None:
    """A number from 0 to 1, or None for "disabled". Raises UsageError."""
    if text == DISABLED:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"{option} {text}: it is a share from 0 to 1, or {DISABLED}")
    return value


def bytes_of(text: str, option: str) -> int | None:
    """A number of bytes ("20MB", "1.5 GiB"; kB is 1000, KiB 1024), or None for "disabled". Raises UsageError."""
    if text == DISABLED:
        return None
    number = text.rstrip("bBiIkKmMgGtT ")
    unit = _UNITS.get(text[len(number) :].strip().lower())
    try:
        value = float(number) * unit if unit and number.isascii() else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value < 1 << 63:
        raise UsageError(f"{option} {text}: it is no size", f"write 20MB, 1GiB, or {DISABLED}")
    return int(value)


def broken(found: Analysis, efficiency: float | None, wasted: int | None, wasted_user: float | None) -> list[str]:
    """What the image fails to keep, in words; None is no limit."""
    faults = []
    if efficiency is not None and found.efficiency < efficiency:
        faults.append(f"the efficiency is {found.efficiency:.4f}, less than {efficiency:g} (--lowest-efficiency)")
    if wasted is not None and found.wasted > wasted:
        faults.append(f"{human_size(found.wasted)} are wasted, more than {human_size(wasted)} (--highest-wasted-bytes)")
    if wasted_user is not None and found.wasted_user > wasted_user:
        faults.append(
            f"the wasted share is {found.wasted_user:.4f}, more than {wasted_user:g} (--highest-user-wasted-percent)"
        )
    return faults
