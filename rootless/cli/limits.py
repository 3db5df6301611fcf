"""Limits that a command line sets for a container that is already made."""

from __future__ import annotations

from typing import Any

from rootless.cli.options import Opts
from rootless.cli.tables.limits import LIMITS


def limits_of(opts: Opts) -> dict[str, Any]:
    """Those that were given, as fields of CreateRequest; a command need not have every option of LIMITS."""
    given = vars(opts)
    found = {row.dest: given.get(row.dest) for row in LIMITS}
    return {name: value for name, value in found.items() if value not in (None, [])}
