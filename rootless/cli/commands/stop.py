"""`stop`: end containers gently."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.selection import each, references
from rootless.engine.stop import stop
from rootless.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each that has ended."""
    store = settings.store()
    names = references(store, opts, "stop")
    ignored = NotFoundError if opts.ignore else None

    def act(name: str) -> None:
        stop(store, name, opts.time, warn, signal=opts.signal)

    return each(settings, names, act, ignored, at_once=True)
