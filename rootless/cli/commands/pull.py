"""`pull`: images out of registries."""

from __future__ import annotations

from rootless.cli.failures import tell, warn
from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.progress import choose_display
from rootless.cli.retries import patience_of
from rootless.cli.settings import Settings
from rootless.engine.one_id import warn_of_one_id
from rootless.errors import RootlessError
from storage.pull import pull
from storage.registry.platform_choice import parse_platform


def command(settings: Settings, opts: Opts) -> int:
    """Pull each of `opts.images` and print its id. One that fails does not keep the others from being pulled."""
    platform = parse_platform(opts.platform, opts.os, opts.arch, opts.variant)
    patience = patience_of(opts.retry, opts.retry_delay)
    store = settings.store()
    warn_of_one_id(store, warn)
    code = 0
    for image in opts.images:
        try:
            with choose_display(opts.quiet) as display:
                image_id = pull(
                    store,
                    image,
                    platform,
                    opts.policy,
                    display,
                    opts.tls_verify,
                    opts.authfile,
                    opts.creds,
                    patience,
                )
        except RootlessError as error:
            if len(opts.images) == 1:
                raise
            code = tell(error, settings.log_level)
        else:
            write(image_id + "\n")
    return code
