"""`volume ls`: one line for each volume."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines, pretty_json, table, write
from rootless.cli.settings import Settings
from rootless.cli.volumes import all_described, volume_filter
from storage.volumes.rows import list_volumes

_HEADINGS = {"Name": "VOLUME NAME", "CreatedAt": "CREATED AT", "MountCount": "MOUNT COUNT"}


def command(settings: Settings, opts: Opts) -> int:
    """List the volumes of the store, by name."""
    store = settings.store()
    passes = volume_filter(store, opts.filter)
    volumes = [volume for volume in list_volumes(store.db) if passes(volume)]
    if opts.quiet and not opts.format:
        lines(volume.name for volume in volumes)
    elif opts.format == "json":
        write(pretty_json(all_described(store, volumes), "  ") + "\n")
    elif opts.format:
        from rootless.cli.template import rows
        from rootless.cli.template.values import Structure

        fields = [Structure(found) for found in all_described(store, volumes)]
        write(rows(opts.format, fields, _HEADINGS, not opts.noheading))
    else:
        heading = [] if opts.noheading else [["DRIVER", "VOLUME NAME"]]
        write(table(heading + [[volume.driver, volume.name] for volume in volumes]))
    return 0
