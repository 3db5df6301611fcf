"""`restart`: stop containers and start them again."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.selection import each, references
from rootless.cli.settings import Settings
from rootless.engine.events import container_event
from rootless.engine.one_id import warn_of_one_id
from rootless.engine.records import get
from rootless.engine.run import start_detached
from rootless.engine.stop import stop


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each."""
    store = settings.store()
    warn_of_one_id(store, warn)

    def act(name: str) -> None:
        stop(store, name, opts.time, warn, signal=opts.signal)
        container = get(store.db, start_detached(store, name, warn))
        if container is not None:
            container_event(store, container, "restart")

    return each(settings, references(store, opts, "restart"), act, at_once=True)
