"""`unpause`: let paused containers go on."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.selection import each, references
from rootless.cli.settings import Settings
from rootless.engine.pause import unpause


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each that goes on."""
    store = settings.store()
    return each(settings, references(store, opts, "unpause"), lambda name: unpause(store, name))
