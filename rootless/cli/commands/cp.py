"""`cp`: files between containers and the host."""

from __future__ import annotations

import os

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from rootless.engine.copy.copying import copy, parse_ends
from rootless.errors import UsageError


def command(settings: Settings, opts: Opts) -> int:
    """Copy a file or a directory; "-" is a tar stream on standard input or output. --follow-link, which Docker needs to
    follow a link that is the source, asks for what Podman and we always do."""
    store = settings.store()
    source, target = parse_ends(store, opts.source, opts.target)
    if target.is_stream and os.isatty(1):
        raise UsageError("cp: a tar archive is not for a terminal", "redirect it, or pipe it into `tar -t`")
    if source.is_stream and os.isatty(0):
        raise UsageError("cp: standard input is a terminal, not a tar archive", "tar -c FILE | rootless cp - NAME:DIR")
    copy(store, source, target, _say_nothing if opts.quiet else warn, opts.archive, opts.overwrite)
    return 0


def _say_nothing(_: str) -> None:
    pass
