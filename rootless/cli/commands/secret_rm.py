"""`secret rm`: remove secrets."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.selection import each
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, UsageError
from storage.secrets import find_secret, list_secrets, remove_secret


def command(settings: Settings, opts: Opts) -> int:
    """Print the id of each that has gone."""
    if bool(opts.secrets) == opts.all:
        raise UsageError("secret rm: name secrets, or give --all" + (" - not both" if opts.all else ""))
    store = settings.store()

    def remove(reference: str) -> None:
        secret = find_secret(store, reference)
        remove_secret(store, secret)
        lines([secret.id])

    names = opts.secrets or [secret.id for secret in list_secrets(store)]
    return each(settings, names, remove, NotFoundError if opts.ignore else None, shows_names=False)
