"""`container exists`: a question answered by the exit code."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from rootless.engine.records import find
from rootless.errors import NotFoundError


def command(settings: Settings, opts: Opts) -> int:
    """0 if there is such a container, else 1."""
    try:
        find(settings.store().db, opts.container)
    except NotFoundError:
        return 1
    return 0
