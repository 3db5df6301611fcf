"""`volume exists`: a question answered by the exit code."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from storage.volumes.rows import list_volumes


def command(settings: Settings, opts: Opts) -> int:
    """0 if there is a volume of exactly this name, else 1."""
    return 0 if any(volume.name == opts.volume for volume in list_volumes(settings.store().db)) else 1
