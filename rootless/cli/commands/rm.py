"""`rm`: remove containers."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.selection import each, references
from rootless.engine.remove import remove
from rootless.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from storage.store import Store


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each. Exit code 1 where one was not there, 2 where one was running, as Podman's."""
    store = settings.store()
    names = references(store, opts, "rm")
    if opts.depend:
        names = _with_dependents(store, names)

    def act(name: str) -> None:
        try:
            remove(store, name, opts.force, opts.volumes, opts.time, warn)
        except NotFoundError as error:
            error.exit_code = 1
            raise

    return each(
        settings,
        names,
        act,
        NotFoundError if opts.ignore or opts.force else None,
        at_once=opts.force and not opts.depend,
    )


def _with_dependents(store: Store, names: list[str]) -> list[str]:
    """Those and the ones that need them, in an order in which they can be removed."""
    from rootless.engine.remove import with_dependents

    found: list[str] = []
    for name in names:
        try:
            found += [one for one in with_dependents(store, name) if one not in found]
        except NotFoundError:
            found.append(name)  # told in its turn
    return found
