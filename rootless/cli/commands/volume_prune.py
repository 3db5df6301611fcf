"""`volume prune`: remove the volumes that no container has."""

from __future__ import annotations

import os

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines, write
from rootless.cli.settings import Settings
from rootless.cli.volumes import volume_filter
from rootless.engine.recover import refresh_all
from storage.volumes import forget_volumes, list_volumes


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), remove, and print the names of what is gone."""
    store = settings.store()
    passes = volume_filter(store, opts.filter)
    refresh_all(store, warn)  # containers that were to go with a process that was killed let go of their volumes
    names = [volume.name for volume in list_volumes(store.db) if not volume.users and passes(volume)]
    if not opts.force and not (names and _agreed(names)):
        return 0
    lines(forget_volumes(store, names))
    return 0


def _agreed(names: list[str]) -> bool:
    write(
        "WARNING! This will remove all volumes not used by at least one container. The following volumes will be"
        " removed:\n" + "".join(f"{name}\n" for name in names) + "Are you sure you want to continue? [y/N] "
    )
    return os.read(0, 100).strip().lower() in (b"y", b"yes")
