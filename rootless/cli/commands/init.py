"""`init`: prepare containers that `start` then lets run."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.selection import each, references
from rootless.cli.settings import Settings
from rootless.engine.initialize import initialize
from rootless.engine.one_id import warn_of_one_id


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each."""
    store = settings.store()
    warn_of_one_id(store, warn)
    return each(settings, references(store, opts, "init"), lambda name: initialize(store, name, warn))
