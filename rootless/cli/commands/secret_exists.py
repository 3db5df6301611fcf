"""`secret exists`: a question answered by the exit code."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError
from storage.secrets import find_secret


def command(settings: Settings, opts: Opts) -> int:
    """0 if there is a secret of this name or id, else 1."""
    try:
        find_secret(settings.store(), opts.secret)
    except NotFoundError:
        return 1
    return 0
