"""`attach`: connect to a container that runs."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.selection import one
from rootless.cli.settings import Settings
from rootless.engine.attach import attach


def command(settings: Settings, opts: Opts) -> int:
    """The exit code is the container's, or 0 where the user has left it running."""
    store = settings.store()
    return attach(store, one(store, opts, "attach"), not opts.no_stdin, opts.detach_keys, opts.sig_proxy)
