"""`unmount`: undo `mount`."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.selection import each, references
from rootless.cli.settings import Settings
from rootless.engine.files.mounted import mounted_containers, unmount_container
from rootless.engine.recover import find
from rootless.engine.unshare import need_inside
from rootless.errors import UsageError


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each, as it was given."""
    need_inside("unmounting a container")
    store = settings.store()
    if opts.all:
        if opts.containers or opts.latest:
            raise UsageError("unmount: --all and a container exclude each other")
        names = list(mounted_containers(store))
    else:
        names = references(store, opts, "unmount")
    return each(settings, names, lambda name: unmount_container(store, find(store, name), opts.force))
