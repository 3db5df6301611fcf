"""`image prune`: images without a name, or all that no container uses."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.questions import agreed
from rootless.cli.settings import Settings
from rootless.engine.recover import refresh_all
from storage.upkeep.garbage import collect_garbage
from storage.upkeep.prune import prune_images


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), remove, and print the ids of what is gone."""
    if not opts.force and not agreed(_warning(opts.all)):
        return 0
    store = settings.store()
    refresh_all(store, warn)  # containers that are gone use no image
    lines(prune_images(store, opts.filter, opts.all))
    collect_garbage(store, downloads=True)
    return 0


def _warning(all_unused: bool) -> str:
    what = "all images without at least one container associated to them" if all_unused else "all dangling images"
    return f"WARNING! This will remove {what}.\n"
