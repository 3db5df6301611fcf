"""`volume mount`: where the files of volumes are."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.engine.volumes.mounts import mount_volume
from storage.volumes.rows import find_volume


def command(settings: Settings, opts: Opts) -> int:
    """Mount what needs a mount, and print the path of each."""
    store = settings.store()
    found = [find_volume(store.db, name) for name in opts.volumes]
    lines(mount_volume(store, volume) for volume in found)
    return 0
