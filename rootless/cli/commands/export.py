"""`export`: the files of a container as a tar archive."""

from __future__ import annotations

import os

from rootless.cli.options import Opts
from rootless.cli.output_file import written
from rootless.cli.settings import Settings
from rootless.engine.files.export import export
from rootless.errors import UsageError


def command(settings: Settings, opts: Opts) -> int:
    """Write to --output, or to standard output where that is no terminal. A file appears when it is whole."""
    path = None if opts.output in (None, "-", "/dev/stdout") else opts.output
    if path is None:
        if os.isatty(1):
            raise UsageError("refusing to export to terminal. Use -o flag or redirect")
        export(settings.store(), opts.container, 1)
        return 0
    with written(path) as descriptor:
        export(settings.store(), opts.container, descriptor)
    return 0
