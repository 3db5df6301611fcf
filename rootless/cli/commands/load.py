"""`load`: images out of an archive."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.progress import Lines, Quiet
from rootless.cli.settings import Settings
from rootless.engine.one_id import warn_of_one_id
from storage.archives.load import load_archive


def command(settings: Settings, opts: Opts) -> int:
    """Load `opts.input`, or standard input, and tell the names (or ids) of what is there now."""
    store = settings.store()
    warn_of_one_id(store, warn)
    with Quiet() if opts.quiet else Lines() as display:
        images = load_archive(store, opts.input or "-", display)
    for loaded in images:
        lines(f"Loaded image: {name}" for name in loaded.names or [f"sha256:{loaded.id}"])
    return 0
