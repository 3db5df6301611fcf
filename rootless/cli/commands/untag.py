"""`untag`: take names from an image; the image stays."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from storage.images.rows import untag


def command(settings: Settings, opts: Opts) -> int:
    """Take `opts.names` from `opts.image`, or all its names."""
    untag(settings.store(), opts.image, opts.names)
    return 0
