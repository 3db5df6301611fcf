"""`image unmount`."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.engine.files.mounted import mounted_images, unmount_image
from rootless.engine.unshare import need_inside
from rootless.errors import UsageError
from storage.lookup import need_image


def command(settings: Settings, opts: Opts) -> int:
    """Print the id of each that was mounted; the others are passed over, as Podman does."""
    if bool(opts.images) == opts.all:
        raise UsageError("image unmount: name images, or give --all" + (" - not both" if opts.all else ""))
    need_inside("unmounting an image")
    store = settings.store()
    mounted = mounted_images(store)
    wanted = list(mounted) if opts.all else [need_image(store.db, name).id for name in opts.images]
    for image_id in wanted:
        if image_id in mounted:
            unmount_image(store, image_id, opts.force)
            lines([image_id])
    return 0
