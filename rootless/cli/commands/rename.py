"""`rename`: give a container another name."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from rootless.engine.rename import rename


def command(settings: Settings, opts: Opts) -> int:
    """Print nothing, as Podman."""
    rename(settings.store(), opts.container, opts.name)
    return 0
