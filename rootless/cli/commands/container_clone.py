"""`container clone`: a container made as another one was."""

from __future__ import annotations

import sys

from rootless.cli.failures import warn
from rootless.cli.limits import limits_of
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.progress import choose_display
from rootless.cli.settings import Settings
from rootless.engine.clone import clone
from rootless.engine.one_id import warn_of_one_id
from rootless.engine.remove import remove
from rootless.engine.run import start_detached
from rootless.errors import UsageError


def command(settings: Settings, opts: Opts) -> int:
    """Print the id of the new container."""
    if opts.force and not opts.destroy:
        raise UsageError("container clone: --force without --destroy: what is to be forced?")
    if opts.name and opts.new_name:
        raise UsageError("container clone: --name and a name after the container exclude each other")
    store = settings.store()
    warn_of_one_id(store, warn)
    words = ["rootless", *sys.argv[1:]]
    name = opts.name or opts.new_name
    made = clone(
        store,
        opts.container,
        name,
        opts.image,
        words,
        lambda: choose_display(False),
        opts.destroy,
        opts.force,
        limits_of(opts),
    )
    if opts.destroy:
        remove(store, made.original, force=opts.force, tell=warn)
    if opts.run:
        start_detached(store, made.id, warn)
    lines([made.id])
    return 0
