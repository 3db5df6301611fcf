"""`volume prune`: remove the volumes that no container has."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.questions import agreed
from rootless.cli.settings import Settings
from rootless.cli.volumes import volume_filter
from rootless.engine.recover import refresh_all
from storage.volumes.rows import forget_volumes, list_volumes


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), remove, and print the names of what is gone."""
    store = settings.store()
    passes = volume_filter(store, opts.filter)
    refresh_all(store, warn)  # containers that were to go with a process that was killed let go of their volumes
    names = [volume.name for volume in list_volumes(store.db) if not volume.users and passes(volume)]
    if not opts.force and not (names and agreed(_warning(names))):
        return 0
    lines(forget_volumes(store, names, pruned=True))
    return 0


def _warning(names: list[str]) -> str:
    return (
        "WARNING! This will remove all volumes not used by at least one container. The following volumes will be"
        " removed:\n" + "".join(f"{name}\n" for name in names)
    )
