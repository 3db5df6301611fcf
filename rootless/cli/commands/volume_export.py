"""`volume export`: the files of a volume as a tar archive."""

from __future__ import annotations

import os

from rootless.cli.options import Opts
from rootless.cli.output_file import written
from rootless.cli.settings import Settings
from rootless.errors import UsageError
from storage.volumes.archive import export_volume
from storage.volumes.rows import find_volume


def command(settings: Settings, opts: Opts) -> int:
    """Write to --output, or to standard output where that is no terminal. A file appears when it is whole."""
    store = settings.store()
    path = None if opts.output in (None, "-", "/dev/stdout") else opts.output
    if path is None and os.isatty(1):
        raise UsageError("volume export: standard output is a terminal", "--output FILE, or > FILE")
    volume = find_volume(store.db, opts.volume)
    if path is None:
        export_volume(store, volume, 1)
        return 0
    with written(path) as descriptor:
        export_volume(store, volume, descriptor)
    return 0
