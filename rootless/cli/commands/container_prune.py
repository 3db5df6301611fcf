"""`container prune`: remove the containers that do not run."""

from __future__ import annotations

from rootless.cli.failures import tell, warn
from rootless.cli.filters import container_filter
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.prune_filters import check
from rootless.cli.questions import agreed
from rootless.cli.settings import Settings
from rootless.engine.upkeep.prune import prune_containers


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), remove, and print the ids of what is gone."""
    check(opts.filter)
    if not opts.force and not agreed("WARNING! This will remove all non running containers.\n"):
        return 0
    store = settings.store()
    pruned = prune_containers(store, container_filter(store, opts.filter), warn)
    lines(pruned.gone)
    return max([tell(error, settings.log_level) for error in pruned.failures.values()], default=0)
