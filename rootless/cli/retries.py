"""`--retry` and `--retry-delay`, wherever a registry may be asked."""

from __future__ import annotations

from rootless.cli.times import seconds_of
from rootless.errors import UsageError
from storage.registry.patience import Patience


def patience_of(retry: int | None, delay: str | None) -> Patience:
    """What the options say, None being an option that is not given. Raises UsageError."""
    default = Patience()
    try:
        seconds = default.delay if delay is None else seconds_of(delay)
    except ValueError as error:
        raise UsageError(f"--retry-delay: {error}", "write 5s or 1m30s") from None
    return Patience(default.retries if retry is None else retry, seconds, retry is not None)
