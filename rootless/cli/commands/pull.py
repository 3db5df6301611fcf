"""`pull`: images out of registries."""

from __future__ import annotations

from rootless.cli.failures import tell, warn
from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.progress import choose_display
from rootless.cli.registry_options import access_of
from rootless.cli.settings import Settings
from rootless.engine.one_id import warn_of_one_id
from rootless.errors import NotFoundError, RootlessError
from storage.documents.platform_choice import parse_platform
from storage.registry.access import Access
from storage.remote.pull import ALWAYS, pull
from storage.remote.pull_tags import tags_of


def command(settings: Settings, opts: Opts) -> int:
    """Pull each of `opts.images` and print its id. One that fails does not keep the others from being pulled."""
    platform = parse_platform(opts.platform, opts.os, opts.arch, opts.variant)
    access = access_of(opts)
    who = access.credentials
    creds = f"{who.user}:{who.password}" if who else None
    store = settings.store()
    warn_of_one_id(store, warn)
    images = [name for text in opts.images for name in _tagged(text, access)] if opts.all_tags else opts.images
    code = 0
    for image in images:
        try:
            with choose_display(opts.quiet) as display:
                image_id = pull(
                    store,
                    image,
                    platform,
                    ALWAYS if opts.all_tags else opts.policy,
                    display,
                    access.tls_verify,
                    access.authfile,
                    creds,
                    access.patience,
                    access.certificates,
                )
        except RootlessError as error:
            if len(images) == 1:
                raise
            code = tell(error, settings.log_level)
        else:
            write(image_id + "\n")
    return code


def _tagged(text: str, access: Access) -> list[str]:
    """The names of all images in the repository `text`. Raises NotFoundError where there is none."""
    reference, tags = tags_of(text, access)
    if not tags:
        raise NotFoundError(f"pulling all of {reference}: the repository has no tags")
    return [f"{reference.name}:{tag}" for tag in tags]
