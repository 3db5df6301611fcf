"""`logout`: forget the credentials for a registry."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, UsageError
from storage.remote.login import registry_name
from storage.settings.auth import find_credentials
from storage.settings.auth_write import remove_all_credentials, remove_credentials
from storage.settings.registries_conf import load


def command(settings: Settings, opts: Opts) -> int:
    """Log out of `opts.registry`, or of all that the file knows. A registry that nobody is logged into is an error."""
    if opts.all:
        if opts.registry:
            raise UsageError("--all: no registry can be named as well")
        remove_all_credentials(opts.authfile, opts.compat_auth_file)
        write("Removed login credentials for all registries\n")
        return 0
    conf = load()
    name = registry_name(opts.registry, conf)
    if not remove_credentials(name, opts.authfile, opts.compat_auth_file, conf.helpers):
        other = None if opts.authfile or opts.compat_auth_file else find_credentials(name, None, conf.helpers)
        hint = f"there are credentials in {other.source}, from another tool or for more than it" if other else None
        raise NotFoundError(f"not logged into {name}", hint)
    write(f"Removed login credentials for {name}\n")
    return 0
