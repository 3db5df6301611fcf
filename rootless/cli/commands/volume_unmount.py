"""`volume unmount`: undo `volume mount`."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.engine.volumes.mounts import unmount_volume
from storage.volumes.rows import find_volume


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each."""
    store = settings.store()
    for name in opts.volumes:
        volume = find_volume(store.db, name)
        unmount_volume(store.layout, volume)
        lines([volume.name])
    return 0
