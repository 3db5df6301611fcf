"""`pause`: stop all processes of containers."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.selection import each, references
from rootless.cli.settings import Settings
from rootless.engine.pause import pause


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each that stands still."""
    store = settings.store()
    return each(settings, references(store, opts, "pause"), lambda name: pause(store, name), at_once=True)
