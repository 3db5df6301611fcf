"""`rm`: remove containers."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.selection import each, references
from rootless.engine.records import some_depend
from rootless.engine.remove import in_order, remove
from rootless.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each. Exit code 1 where one was not there, 2 where one was running, as Podman's."""
    store = settings.store()
    names = references(store, opts, "rm")
    ordered = opts.depend or (len(names) > 1 and some_depend(store.db))
    if ordered:
        names = in_order(store, names, opts.depend)

    def act(name: str) -> None:
        try:
            remove(store, name, opts.force, opts.volumes, opts.time, warn)
        except NotFoundError as error:
            error.exit_code = 1
            raise

    # Those that nobody has named were there a moment ago: another command was faster.
    gone_is_fine = opts.ignore or opts.force or opts.all or opts.filter
    return each(
        settings,
        names,
        act,
        NotFoundError if gone_is_fine else None,
        at_once=opts.force and not ordered,
    )
