"""`mount`: containers as directories."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, short, table, write
from rootless.cli.selection import each, references
from rootless.cli.settings import Settings
from rootless.engine.files.mounted import files_of, mount_container, mounted_containers
from rootless.engine.records import get
from rootless.engine.recover import find
from rootless.engine.unshare import need_inside
from rootless.errors import UsageError
from rootless.kernel.idmaps import may_administer


def command(settings: Settings, opts: Opts) -> int:
    """Print the path of each. Outside of `rootless unshare` this works for drivers that mount nothing, as Podman's."""
    if opts.format not in (None, "", "json"):
        raise UsageError(f"mount: --format {opts.format}: only json is known")
    store = settings.store()
    if not (opts.containers or opts.all or opts.latest):
        need_inside("listing mounted containers")
        found = [(id, get(store.db, id), path) for id, path in mounted_containers(store).items()]
        if opts.format:
            rows = [{"id": id, "Names": [row.name] if row else [], "mountpoint": path} for id, row, path in found]
            write(pretty_json(rows, " ") + "\n")
        else:
            write(table([[id if opts.no_trunc else short(id), path] for id, _, path in found]))
        return 0

    def act(name: str) -> None:
        container = find(store, name)
        path = None if may_administer() else files_of(store, container)
        if path is None:
            need_inside(f"mounting {container.name}")
            path = mount_container(store, container, warn)
        write(path + "\n")

    return each(settings, references(store, opts, "mount"), act, shows_names=False)
