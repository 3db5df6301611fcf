"""`volume rm`: remove volumes."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.selection import each
from rootless.cli.settings import Settings
from rootless.engine import records
from rootless.engine.remove import remove
from rootless.errors import ConflictError, NotFoundError, UsageError
from storage.store import Store
from storage.volumes.rows import Volume, find_volume, forget_volumes, list_volumes


def command(settings: Settings, opts: Opts) -> int:
    """Print the name of each. Exit code 1 where one was not there, 2 where a container has it, as Podman's."""
    if bool(opts.volumes) == opts.all:
        raise UsageError("volume rm: name volumes, or give --all" + (" - not both" if opts.all else ""))
    store = settings.store()
    names = opts.volumes or [volume.name for volume in list_volumes(store.db)]
    return each(settings, names, lambda name: _remove(store, name, opts), NotFoundError if opts.force else None)


def _remove(store: Store, name: str, opts: Opts) -> None:
    try:
        volume = find_volume(store.db, name)
    except NotFoundError as error:
        error.exit_code = 1
        raise
    if opts.force:
        for container_id in volume.users:
            try:
                remove(store, container_id, force=True, timeout=opts.time)
            except NotFoundError:
                continue  # it has just gone by itself
    if not forget_volumes(store, [volume.name]):
        raise _in_use(store, volume)


def _in_use(store: Store, volume: Volume) -> ConflictError:
    found = [records.get(store.db, container_id) for container_id in find_volume(store.db, volume.name).users]
    users = ", ".join(f"{container.name} ({container.state})" for container in found if container is not None)
    return ConflictError(
        f"removing the volume {volume.name}: in use by {users}",
        "remove the containers first (rootless rm), or both with --force",
        exit_code=2,
    )
