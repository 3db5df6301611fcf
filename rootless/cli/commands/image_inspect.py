"""`image inspect`: everything about images, as JSON or through a template."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, write
from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print what is found; names that are not there are told at the end (exit code 125, as Podman's)."""
    from rootless.errors import NotFoundError
    from storage.images.describe import inspect_image
    from storage.lookup import find_image

    store = settings.store()
    found, missing = [], []
    for name in opts.images:
        image = find_image(store.db, name)
        if image is None:
            missing.append(name)
        else:
            found.append(inspect_image(store, image))
    if opts.format and opts.format != "json":
        from rootless.cli.template import rows

        write(rows(opts.format, found))
    elif found or not opts.format:
        write(pretty_json(found) + "\n")
    if missing:
        raise NotFoundError(
            f"inspecting {', '.join(missing)}: no such image here", "`rootless images` lists what there is"
        )
    return 0
