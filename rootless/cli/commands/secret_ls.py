"""`secret ls`: one line for each secret."""

from __future__ import annotations

from typing import Any

from rootless.cli.options import Opts
from rootless.cli.output import ago, lines, pretty_json, table, write
from rootless.cli.secrets import described, matching
from rootless.cli.settings import Settings
from storage.secrets import DRIVER, Secret, list_secrets

_HEADINGS = {"CreatedAt": "CREATED", "UpdatedAt": "UPDATED"}


def command(settings: Settings, opts: Opts) -> int:
    """List the secrets of the store, by name."""
    secrets = matching(list_secrets(settings.store()), opts.filter)
    if opts.quiet and not opts.format:
        lines(secret.id for secret in secrets)
    elif opts.format == "json":
        write(pretty_json([described(secret) for secret in secrets], "  ") + "\n")
    elif opts.format:
        from rootless.cli.template import rows
        from rootless.cli.template.values import Structure

        write(rows(opts.format, [Structure(_row(secret)) for secret in secrets], _HEADINGS, not opts.noheading))
    else:
        heading = [] if opts.noheading else [["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]]
        shown = [[secret.id, secret.name, DRIVER, ago(secret.created), ago(secret.updated)] for secret in secrets]
        write(table(heading + shown))
    return 0


def _row(secret: Secret) -> dict[str, Any]:
    return {
        **described(secret),
        "Name": secret.name,
        "Driver": DRIVER,
        "CreatedAt": ago(secret.created),
        "UpdatedAt": ago(secret.updated),
    }
