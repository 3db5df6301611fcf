"""`unshare`: a command in the user namespace of containers."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from rootless.engine.unshare import execute


def command(settings: Settings, opts: Opts) -> int:
    """Becomes the command, and so ends with its exit code; 126 and 127 where it cannot be executed."""
    execute(settings.store(), opts.command)
