"""`exec`: run a command in a container that runs."""

from __future__ import annotations

from rootless.cli.failures import warn, warn_of_no_terminal
from rootless.cli.output import write
from rootless.engine.exec_ import ExecRequest, exec_detached, exec_foreground
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """The exit code is the command's; 0 with --detach, and the session's id is printed."""
    request = ExecRequest(
        opts.command, opts.env, opts.env_file, opts.interactive, opts.privileged, opts.tty, opts.user, opts.workdir
    )
    if opts.preserve_fds or opts.preserve_fd:
        from rootless.cli.passed import passed_descriptors

        request.preserve = passed_descriptors(opts)
    store = settings.store()
    reference = opts.container
    if opts.latest:
        from rootless.engine.records import latest

        request.command = [reference, *opts.command]
        reference = latest(store.db).id
    if not request.command:
        raise UsageError("exec: COMMAND... is missing", "usage: rootless exec [OPTIONS] CONTAINER COMMAND...")
    if opts.detach:
        write(exec_detached(store, reference, request) + "\n")
        return 0
    warn_of_no_terminal(opts)
    return exec_foreground(store, reference, request, warn, opts.detach_keys)
