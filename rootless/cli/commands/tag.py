"""`tag`: more names for an image."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from storage.images.rows import tag


def command(settings: Settings, opts: Opts) -> int:
    """Give `opts.image` the names `opts.names`."""
    tag(settings.store(), opts.image, opts.names)
    return 0
