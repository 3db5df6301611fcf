"""`volume import`: the files of a tar archive into a volume."""

from __future__ import annotations

import os

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, StorageError, UsageError
from rootless.kernel.fifos import open_to_read
from storage.volumes.archive import import_volume
from storage.volumes.rows import find_volume


def command(settings: Settings, opts: Opts) -> int:
    """Read `opts.source` ("-" or nothing: standard input). What lies in the volume under other names stays."""
    store = settings.store()
    volume = find_volume(store.db, opts.volume)
    descriptor = _open(opts.source or "-")
    try:
        _, skipped = import_volume(store, volume, descriptor)
    finally:
        os.close(descriptor)
    if skipped:
        warn(f"importing into {volume.name}: {skipped} devices or attributes could not be made here")
    return 0


def _open(source: str) -> int:
    if source == "-":
        if os.isatty(0):
            raise UsageError("volume import: standard input is a terminal", "name a file, or < FILE")
        return os.dup(0)
    try:
        return open_to_read(source)
    except FileNotFoundError:
        raise NotFoundError(f"importing {source}: no such file") from None
    except OSError as error:
        raise StorageError(f"importing {source}: {error.strerror}") from None
