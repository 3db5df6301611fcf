"""Asking before something is done that cannot be undone."""

from __future__ import annotations

import os

from rootless.cli.output import write

SURE = "Are you sure you want to continue? [y/N] "


def agreed(warning: str) -> bool:
    """Print `warning` and the question, and read the answer from standard input: anything but yes is no."""
    write(warning + SURE)
    return os.read(0, 100).strip().lower() in (b"y", b"yes")
