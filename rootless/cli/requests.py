"""From the options of `run` and `create` to the engine's request."""

from __future__ import annotations

import sys

from rootless.engine.request import CreateRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.progress import Display


def create_request(opts: Opts) -> CreateRequest:
    """The request that the options make; a pull that it needs is shown on standard error unless --quiet."""

    def display() -> Display:
        from rootless.cli.progress import choose_display

        return choose_display(opts.quiet)

    request = CreateRequest.from_options(opts)
    request.display = display
    request.create_command = ["rootless", *sys.argv[1:]]
    if opts.retry is not None or opts.retry_delay is not None:
        from rootless.cli.retries import patience_of

        request.patience = patience_of(opts.retry, opts.retry_delay)
    return request
