"""`logs`: what containers have written."""

from __future__ import annotations

from rootless.cli.output import write_bytes
from rootless.cli.selection import each, references
from rootless.engine.logs import follow_logs
from rootless.engine.recover import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """What went to standard error goes to standard error. With several containers, each line says whose it is."""
    store = settings.store()
    names = references(store, opts, "logs")

    def act(name: str) -> None:
        prefix = ""
        if opts.names or len(names) > 1:
            container = find(store, name)
            prefix = container.name if opts.names else container.id[:12]
        follow_logs(
            store,
            name,
            lambda stream, data: write_bytes(data, stream),
            follow=opts.follow,
            tail=opts.tail,
            since=opts.since,
            until=opts.until,
            timestamps=opts.timestamps,
            prefix=prefix.encode(),
        )

    return each(settings, names, act, at_once=opts.follow, shows_names=False)
