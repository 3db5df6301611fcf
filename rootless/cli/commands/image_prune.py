"""`image prune`: images without a name, or all that no container uses."""

from __future__ import annotations

import os

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines, write
from rootless.cli.settings import Settings
from rootless.engine.recover import refresh_all
from storage.garbage import collect_garbage
from storage.prune import prune_images


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), remove, and print the ids of what is gone."""
    if not opts.force and not _agreed(opts.all):
        return 0
    store = settings.store()
    refresh_all(store, warn)  # containers that are gone use no image
    lines(prune_images(store, opts.filter, opts.all))
    collect_garbage(store, downloads=True)
    return 0


def _agreed(all_unused: bool) -> bool:
    what = "all images without at least one container associated to them" if all_unused else "all dangling images"
    write(f"WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] ")
    return os.read(0, 100).strip().lower() in (b"y", b"yes")
