"""`run`: make a container and run it."""

from __future__ import annotations

from rootless.cli.failures import warn, warn_of_no_terminal
from rootless.cli.output import write
from rootless.cli.requests import create_request
from rootless.engine.run import run_detached, run_foreground
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """The exit code is the container's; with --detach its id is printed."""
    preserve = None
    if opts.preserve_fds or opts.preserve_fd:
        from rootless.cli.passed import passed_descriptors

        preserve = passed_descriptors(opts)
    request = create_request(opts)
    store = settings.store()
    if opts.detach:
        if opts.attach:
            raise UsageError("--attach and --detach contradict each other", "leave one of them out")
        write(run_detached(store, request, warn, preserve) + "\n")
        return 0
    warn_of_no_terminal(opts)
    return run_foreground(store, request, warn, opts.detach_keys, opts.sig_proxy, preserve)
