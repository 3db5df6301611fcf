"""`image mount`: images as directories."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, table, write
from rootless.cli.settings import Settings
from rootless.engine.files.mounted import mount_image, mounted_images
from rootless.engine.unshare import need_inside
from rootless.errors import UsageError
from storage.images.listing import list_images
from storage.lookup import find_image, need_image


def command(settings: Settings, opts: Opts) -> int:
    """One image: its path alone. Several, all, or those that are mounted: name and path of each, or JSON."""
    if opts.images and opts.all:
        raise UsageError("image mount: --all and the name of an image exclude each other")
    if opts.format not in (None, "", "json"):
        raise UsageError(f"image mount: --format {opts.format}: only json is known")
    need_inside("mounting an image")
    store = settings.store()
    if opts.all:
        images = [need_image(store.db, image.id) for image in list_images(store.db)]
    else:
        images = [need_image(store.db, name) for name in opts.images]
    asked = opts.all or bool(opts.images)
    paths = {image.id: mount_image(store, image) for image in images} if asked else mounted_images(store)
    if len(opts.images) == 1 and not opts.format:
        write(next(iter(paths.values())) + "\n")
        return 0
    found = [(image_id, find_image(store.db, image_id), path) for image_id, path in paths.items()]
    if opts.format:
        rows = [
            {
                "id": id,
                "Names": image.names if image else [],
                "Repositories": image.names if image else [],
                "mountpoint": path,
            }
            for id, image, path in found
        ]
        write(pretty_json(rows, " ") + "\n")
    else:
        write(table([[image.names[0] if image and image.names else id, path] for id, image, path in found]))
    return 0
