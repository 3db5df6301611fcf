"""`volume inspect`: everything about volumes, as JSON or through a template."""

from __future__ import annotations

from rootless.cli.failures import tell
from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, write
from rootless.cli.settings import Settings
from rootless.cli.volumes import all_described
from rootless.errors import RootlessError, UsageError
from storage.volumes.rows import find_volume, list_volumes

_INDENT = "     "  # five blanks, as Podman's


def command(settings: Settings, opts: Opts) -> int:
    """Print what is found, in the order of the names; those that are not there are told after it (exit code 125)."""
    if bool(opts.volumes) == opts.all:
        raise UsageError("volume inspect: name volumes, or give --all" + (" - not both" if opts.all else ""))
    store = settings.store()
    volumes = list_volumes(store.db) if opts.all else []
    failures: list[RootlessError] = []
    for name in opts.volumes:
        try:
            volumes.append(find_volume(store.db, name))
        except RootlessError as error:
            failures.append(error)
    found = all_described(store, volumes)
    if not opts.format or opts.format == "json":
        write(pretty_json(found, _INDENT) + "\n")
    elif found:
        from rootless.cli.template import rows
        from rootless.cli.template.values import Structure

        write(rows(opts.format, [Structure(volume) for volume in found]))
    return max((tell(failure, settings.log_level) for failure in failures), default=0)
