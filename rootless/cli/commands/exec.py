"""`exec`: run a command in a container that runs."""

from __future__ import annotations

from rootless.cli.failures import warn, warn_of_no_terminal
from rootless.engine.exec_ import ExecRequest, exec_detached, exec_foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """The exit code is the command's; 0 with --detach."""
    request = ExecRequest(
        opts.command, opts.env, opts.env_file, opts.interactive, opts.privileged, opts.tty, opts.user, opts.workdir
    )
    store = settings.store()
    if opts.detach:
        exec_detached(store, opts.container, request)
        return 0
    warn_of_no_terminal(opts)
    return exec_foreground(store, opts.container, request, warn, opts.detach_keys)
