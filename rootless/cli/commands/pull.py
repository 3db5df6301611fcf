"""`pull`: images out of registries."""

from __future__ import annotations

from rootless.cli.failures import tell
from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.progress import choose_display
from rootless.cli.settings import Settings
from rootless.errors import RootlessError, UsageError
from storage.pull import pull
from storage.registry.patience import Patience
from storage.registry.platform_choice import parse_platform

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def command(settings: Settings, opts: Opts) -> int:
    """Pull each of `opts.images` and print its id. One that fails does not keep the others from being pulled."""
    platform = parse_platform(opts.platform, opts.os, opts.arch, opts.variant)
    patience = _patience(opts.retry, opts.retry_delay)
    store = settings.store()
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


def _patience(retry: int | None, delay: str | None) -> Patience:
    default = Patience()
    return Patience(
        default.retries if retry is None else retry,
        default.delay if delay is None else _seconds(delay),
        retry is not None,
    )


def _seconds(text: str) -> float:
    """A time as Go writes it, "5s", "1m30s", "200ms". Raises UsageError."""
    total, rest = 0.0, text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = next((unit for unit in _UNITS if rest.startswith(unit)), "")
        rest = rest[len(unit) :]
        try:
            total += float(number) * _UNITS[unit]
        except (ValueError, KeyError):
            raise UsageError(f"--retry-delay {text}: that is not a time", "for example 5s or 1m30s") from None
    if not text:
        raise UsageError("--retry-delay: there is no time", "for example 5s or 1m30s")
    return total
