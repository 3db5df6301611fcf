"""`secret create`: a new secret, from a file, standard input or an environment variable."""

from __future__ import annotations

import os
import sys

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, UsageError
from rootless.kernel.fifos import open_to_read
from storage.secrets import LARGEST, check_secret_name, create_secret, labels_of


def command(settings: Settings, opts: Opts) -> int:
    """Keep it, and print its id."""
    name = check_secret_name(opts.name)
    assert opts.driver == "file"  # the only choice
    made = create_secret(
        settings.store(),
        name,
        _data(opts.source, opts.env),
        labels_of(opts.label),
        labels_of(opts.driver_opts),
        replace=opts.replace,
        ignore=opts.ignore,
    )
    lines([made.id])
    return 0


def _data(source: str, from_environment: bool) -> bytes:
    if from_environment:
        value = os.environ.get(source)
        if value is None:
            raise NotFoundError(f"secret create --env {source}: there is no such variable", f"export {source}=...")
        return os.fsencode(value)
    if source == "-":
        if sys.stdin.isatty():
            raise UsageError("secret create: standard input is a terminal", "give a file, or pipe the secret in")
        return sys.stdin.buffer.read(LARGEST)
    try:
        with open(source, "rb", opener=open_to_read) as file:
            return file.read(LARGEST)
    except OSError as error:
        raise NotFoundError(f"secret create: reading {source}: {error.strerror}") from None
