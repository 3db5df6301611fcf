"""`system reset`: everything goes."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.questions import agreed
from rootless.cli.settings import Settings
from rootless.engine.upkeep.reset import look, reset


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), then delete. A directory that is no store of ours is refused before anybody is asked."""
    store = settings.store()
    others = look(store)
    warning = (
        "WARNING! This will remove:\n"
        "        - all containers\n"
        "        - all images\n"
        "        - all volumes\n"
        f'        - the graphRoot directory: "{store.root}"\n'
        f'        - the runRoot directory: "{store.runroot}"\n'
    )
    if not opts.force and not agreed(warning):
        return 0
    reset(store)
    if others:
        warn(f"left in {store.root}, as it is not the store's: {', '.join(others)}")
    return 0
