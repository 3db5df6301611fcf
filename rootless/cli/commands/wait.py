"""`wait`: until containers have ended."""

from __future__ import annotations

from rootless.cli.failures import tell
from rootless.cli.output import write
from rootless.cli.selection import references
from rootless.engine.stop import wait
from rootless.errors import NotFoundError, RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings

_STATES = (
    *("configured", "created", "exited", "healthy", "initialized", "paused", "removing", "running", "stopped"),
    *("stopping", "unhealthy"),
)


def command(settings: Settings, opts: Opts) -> int:
    """Print the exit code of each, in the order in which they are named."""
    for state in opts.condition:
        if state not in _STATES:
            raise UsageError(f"wait: --condition {state}: not one of {', '.join(_STATES)}")
    interval = _seconds(opts.interval)
    store = settings.store()
    code = 0
    for name in references(store, opts, "wait"):
        try:
            exit_code = wait(store, name, opts.condition or None, interval)
        except NotFoundError as error:
            if opts.ignore:
                write("-1\n")
            else:
                code = tell(error, settings.log_level)
        except RootlessError as error:
            code = tell(error, settings.log_level)
        else:
            write(f"{exit_code}\n")
    return code


def _seconds(text: str | None) -> float:
    """`--interval`: a duration, or a number of milliseconds."""
    if text is None:
        return 0.25
    if text.isdecimal():
        return int(text) / 1000
    from rootless.cli.times import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise UsageError(f"wait: --interval: {error}", "write it like 250ms or 2s") from None
