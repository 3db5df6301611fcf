"""`update`: change what a container does from now on."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.engine.update import set_restart_policy
from rootless.errors import UsageError


def command(settings: Settings, opts: Opts) -> int:
    """Print the container's id."""
    if opts.restart is None:
        raise UsageError("update: nothing is to be changed", "see: rootless update --help")
    lines([set_restart_policy(settings.store(), opts.container, opts.restart)])
    return 0
