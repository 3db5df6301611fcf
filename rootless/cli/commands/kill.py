"""`kill`: send a signal to containers."""

from __future__ import annotations

from rootless.cli.selection import each, references
from rootless.engine.signals import parse_signal
from rootless.engine.stop import kill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each that got the signal."""
    parse_signal(opts.signal)
    store = settings.store()
    return each(settings, references(store, opts, "kill"), lambda name: kill(store, name, opts.signal))
