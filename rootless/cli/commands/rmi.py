"""`rmi`: remove names, and images with their last name."""

from __future__ import annotations

from rootless.cli.failures import tell, warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.errors import ConflictError, NotFoundError, RootlessError, UsageError
from storage.images.listing import list_images
from storage.images.rows import Removed, remove, users_of
from storage.list_lookup import find_list
from storage.lookup import find_image
from storage.store import Store
from storage.upkeep.garbage import collect_garbage


def command(settings: Settings, opts: Opts) -> int:
    """Remove `opts.images`, or all with `--all`. Goes on after a failure; the exit code is the worst that happened:
    1 where an image is not there, 2 where one is in use."""
    if bool(opts.images) == opts.all:
        raise UsageError("removing images: name images, or give --all" + (" - not both" if opts.all else ""))
    store = settings.store()
    worst = 0
    for name in opts.images or [image.id for image in list_images(store.db)]:
        try:
            removed = _remove(store, name, opts)
        except RootlessError as error:
            if isinstance(error, NotFoundError):
                if opts.ignore or opts.force or opts.all:
                    continue
                error.exit_code = 1
            worst = max(worst, tell(error, settings.log_level))
        else:
            lines([f"Untagged: {name}" for name in removed.untagged] + [f"Deleted: {id}" for id in removed.deleted])
    collect_garbage(store, downloads=opts.all)
    return worst


def _remove(store: Store, name: str, opts: Opts) -> Removed:
    if opts.force and find_list(store.db, name) is None:
        image = find_image(store.db, name)
        if image is None:
            return remove(store, name)
        if len(image.names) < 2 or image.id.startswith(name.removeprefix("sha256:")):
            _remove_containers(store, image.id)
    try:
        return remove(store, name, force=opts.force or opts.all)
    except ConflictError:
        from rootless.engine.recover import refresh_all

        refresh_all(store, warn)  # a crash may have left rows of containers that are gone
        return remove(store, name, force=opts.force or opts.all)


def _remove_containers(store: Store, image_id: str) -> None:
    users = users_of(store.db, image_id)
    if users:
        from rootless.engine.remove import remove as remove_container

        for container_id, _, _ in users:
            try:
                remove_container(store, container_id, force=True, volumes=True)
            except NotFoundError:
                pass  # it has just removed itself
