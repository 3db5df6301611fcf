"""Descriptors of ours that a command in a container is to have too: `--preserve-fds` and `--preserve-fd`."""

from __future__ import annotations

import os

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts


def passed_descriptors(opts: Opts) -> list[int]:
    """Their numbers. To be called before anything is opened: what is open now is the caller's. Raises UsageError."""
    numbers: list[int] = []
    for text in opts.preserve_fd:
        if not (text.isascii() and text.isdigit()) or not 3 <= int(text) < 1 << 31:
            raise UsageError(f"--preserve-fd {text}: not the number of a descriptor from 3 on")
        numbers.append(_open(int(text), "--preserve-fd"))
    for number in range(3, 3 + (opts.preserve_fds or 0)):
        numbers.append(_open(number, "--preserve-fds"))
    return sorted(set(numbers))


def _open(number: int, option: str) -> int:
    try:
        os.fstat(number)
    except OSError:
        raise UsageError(f"{option}: descriptor {number} is not open here") from None
    return number
