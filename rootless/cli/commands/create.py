"""`create`: make a container and leave it stopped."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.requests import create_request
from rootless.cli.settings import Settings
from rootless.engine.create import create
from rootless.engine.one_id import warn_of_one_id


def command(settings: Settings, opts: Opts) -> int:
    """Print the id of the new container."""
    store = settings.store()
    warn_of_one_id(store, warn)
    write(create(store, create_request(opts)) + "\n")
    return 0
