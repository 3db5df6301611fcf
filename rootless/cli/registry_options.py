"""--authfile, --cert-dir, --creds, --retry, --retry-delay and --tls-verify, wherever a registry is asked; the options
that sign, where something is pushed."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.retries import patience_of
from rootless.errors import UsageError
from storage.registry.access import Access
from storage.settings.auth import from_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.signatures.signing import Signer


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


def signer_of(opts: Opts) -> Signer | None:
    """--sign-by-sigstore-private-key and --sign-passphrase-file, read before anything is sent. Raises UsageError."""
    if opts.sign_by_sigstore_private_key is None:
        if opts.sign_passphrase_file is not None:
            raise UsageError("--sign-passphrase-file: there is no key that it is for", "--sign-by-sigstore-private-key")
        return None
    from storage.signatures.signing import read_signer

    return read_signer(opts.sign_by_sigstore_private_key, opts.sign_passphrase_file)
