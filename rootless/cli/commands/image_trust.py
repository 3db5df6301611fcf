"""`image trust show`, `image trust set`: what policy.json lets in."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, table, write
from rootless.cli.settings import Settings
from rootless.errors import NotFoundError, UsageError
from rootless.kernel.fifos import open_to_read
from storage.settings.policy import find_file
from storage.signatures.trust import GPG, TrustRow, read_trust, set_trust

_HEADING = ["TRANSPORT", "NAME", "TYPE", "ID", "STORE"]


def command(settings: Settings, opts: Opts) -> int:
    """Show the policy as a table, as JSON or as it is; or change one entry of the user's."""
    if opts.action not in ("show", "set"):
        raise UsageError(f"image trust {opts.action}: there are show and set", "rootless image trust --help")
    if opts.action == "set":
        _refuse("set", json=opts.json, noheading=opts.noheading, raw=opts.raw)
        if opts.registry is None:
            raise UsageError("image trust set: which registry?", "rootless image trust set --type reject REGISTRY")
        set_trust(opts.registry, opts.type or GPG, opts.pubkeysfile)
        return 0
    _refuse("show", type=opts.type, pubkeysfile=opts.pubkeysfile)
    if opts.raw:
        write(_raw())
    elif opts.json:
        write(pretty_json([_keys(row) for row in read_trust(opts.registry)], "  ") + "\n")
    else:
        rows = [[row.transport, row.scope, row.kind, row.keys, row.store] for row in read_trust(opts.registry)]
        write(table(([] if opts.noheading else [_HEADING]) + rows))
    return 0


def _refuse(action: str, **given: object) -> None:
    for name, value in given.items():
        if value:
            other = "show" if action == "set" else "set"
            raise UsageError(f"image trust {action}: --{name} is an option of image trust {other}")


def _raw() -> str:
    path = find_file()
    if path is None:
        raise NotFoundError("reading policy.json: there is none, everything is accepted")
    try:
        with open(path, errors="surrogateescape", opener=open_to_read) as file:
            return file.read()
    except OSError as error:
        raise NotFoundError(f"reading {path}: {error.strerror}") from None


def _keys(row: TrustRow) -> dict[str, str]:
    """As Podman writes it: keys without a value are left away."""
    found = {
        "transport": row.transport,
        "name": "* (default)" if row.transport == "all" else row.scope,
        "repo_name": row.scope,
        "sigstore": row.store,
        "type": row.kind,
        "gpg_id": row.keys,
    }
    return {key: value for key, value in found.items() if value}
