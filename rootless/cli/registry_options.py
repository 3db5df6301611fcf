"""--authfile, --cert-dir, --creds, --retry, --retry-delay and --tls-verify, wherever a registry is asked."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.retries import patience_of
from storage.auth import from_option
from storage.registry.access import Access


def access_of(opts: Opts) -> Access:
    """What the options say; those that a command does not have count as not given. Raises UsageError."""
    given = vars(opts)
    creds = given.get("creds")
    return Access(
        given.get("tls_verify"),
        given.get("cert_dir"),
        given.get("authfile"),
        from_option(creds) if creds else None,
        patience_of(given.get("retry"), given.get("retry_delay")),
    )
