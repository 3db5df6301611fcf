"""`start`: run containers that are stopped."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.selection import each, references
from rootless.engine.run import start_attached, start_detached
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each; with --attach or --interactive stay with the one container and end as it ends."""
    store = settings.store()
    if store.user_map.single:
        from rootless.engine.one_id import warn_of_one_id

        warn_of_one_id(store, warn)
    names = references(store, opts, "start")
    if not (opts.attach or opts.interactive):
        return each(settings, names, lambda name: start_detached(store, name, warn))
    if len(names) != 1:
        raise UsageError("start: only one container can be attached to", "leave out --attach and --interactive")
    return start_attached(store, names[0], warn, opts.interactive, opts.detach_keys, opts.sig_proxy)
