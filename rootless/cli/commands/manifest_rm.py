"""`manifest rm`: lists less."""

from __future__ import annotations

from rootless.cli.failures import tell
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, RootlessError
from storage.images.rows import remove
from storage.manifests.lists import need_list
from storage.store import Store
from storage.upkeep.garbage import collect_garbage


def command(settings: Settings, opts: Opts) -> int:
    """Remove `opts.lists`. Goes on after a failure; the exit code is the worst that happened: 1 where a list is not
    there."""
    store = settings.store()
    worst = 0
    for name in opts.lists:
        try:
            _remove(store, name)
        except NotFoundError as error:
            if not opts.ignore:
                error.exit_code = 1
                worst = max(worst, tell(error, settings.log_level))
        except RootlessError as error:
            worst = max(worst, tell(error, settings.log_level))
    collect_garbage(store)
    return worst


def _remove(store: Store, name: str) -> None:
    need_list(store.db, name)
    removed = remove(store, name)
    lines([f"Untagged: {name}" for name in removed.untagged] + [f"Deleted: {id}" for id in removed.deleted])
