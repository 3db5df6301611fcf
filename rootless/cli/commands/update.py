"""`update`: change what a container does from now on."""

from __future__ import annotations

from rootless.cli.limits import limits_of
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.settings import Settings
from rootless.engine.update import update
from rootless.errors import UsageError


def command(settings: Settings, opts: Opts) -> int:
    """Print the container's id."""
    given = {
        "health_cmd": opts.health_cmd,
        "health_interval": opts.health_interval,
        "health_log_destination": opts.health_log_destination,
        "health_max_log_count": opts.health_max_log_count,
        "health_max_log_size": opts.health_max_log_size,
        "health_on_failure": opts.health_on_failure,
        "health_retries": opts.health_retries,
        "health_start_interval": opts.health_start_interval,
        "health_start_period": opts.health_start_period,
        "health_startup_cmd": opts.health_startup_cmd,
        "health_startup_interval": opts.health_startup_interval,
        "health_startup_retries": opts.health_startup_retries,
        "health_startup_success": opts.health_startup_success,
        "health_startup_timeout": opts.health_startup_timeout,
        "health_timeout": opts.health_timeout,
    }
    limits = limits_of(opts)
    checks = {name: value for name, value in given.items() if value is not None}
    if opts.restart is None and not checks and not limits and not opts.no_healthcheck:
        raise UsageError("update: nothing is to be changed", "see: rootless update --help")
    lines([update(settings.store(), opts.container, opts.restart, checks, opts.no_healthcheck, limits)])
    return 0
