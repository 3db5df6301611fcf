"""`volume create`: a new volume."""

from __future__ import annotations

import os

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.engine.volumes.words import check_volume_name
from storage.volumes.options import parse_settings
from storage.volumes.rows import make_volume


def command(settings: Settings, opts: Opts) -> int:
    """Make `opts.name`, or one with a name of 64 random digits, and print the name."""
    name = os.urandom(32).hex() if opts.name is None else check_volume_name(opts.name, "volume create")
    labels = {key: value for key, _, value in (label.partition("=") for label in opts.label)}
    options = parse_settings(opts.opt, f"making the volume {name[:20]}", opts.driver)
    make_volume(settings.store(), name, labels, opts.driver, opts.ignore, options)
    lines([name])
    return 0
