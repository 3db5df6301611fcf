"""`create`: make a container and leave it stopped."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.requests import create_request
from rootless.cli.settings import Settings
from rootless.engine.create import create


def command(settings: Settings, opts: Opts) -> int:
    """Print the id of the new container."""
    write(create(settings.store(), create_request(opts)) + "\n")
    return 0
