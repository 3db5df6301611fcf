"""`healthcheck run`: one check, now."""

from __future__ import annotations

from rootless.cli.output import write
from rootless.engine.health_check import run_now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """0 where the check has succeeded; else 1, and what that makes of the container is printed."""
    outcome = run_now(settings.store(), opts.container)
    if outcome == "healthy":
        return 0
    write(outcome + "\n")
    return 1
