"""`secret inspect`: everything about secrets; their data only when asked for."""

from __future__ import annotations

from typing import Any

from rootless.cli.failures import tell
from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, write
from rootless.cli.secrets import described
from rootless.cli.settings import Settings
from rootless.errors import RootlessError, UsageError
from storage.secrets import find_secret, read_secret


def command(settings: Settings, opts: Opts) -> int:
    """Print what is found, in the order of the names; those that are not there are told after it (exit code 125)."""
    if opts.format and opts.pretty:
        raise UsageError("secret inspect: --format and --pretty contradict each other", "leave one of them out")
    store = settings.store()
    found: list[dict[str, Any]] = []
    failures: list[RootlessError] = []
    for name in opts.secrets:
        try:
            secret = find_secret(store, name)
            shown = described(secret)
            if opts.showsecret:
                shown["SecretData"] = read_secret(store, secret).decode("utf-8", "surrogateescape")
            found.append(shown)
        except RootlessError as error:
            failures.append(error)
    if opts.pretty:
        write("".join(_pretty(shown) for shown in found))
    elif not opts.format or opts.format == "json":
        write(pretty_json(found) + "\n")
    elif found:
        from rootless.cli.template import rows
        from rootless.cli.template.values import Structure

        write(rows(opts.format, [Structure(shown) for shown in found]))
    return max((tell(failure, settings.log_level) for failure in failures), default=0)


def _pretty(shown: dict[str, Any]) -> str:
    rows = [
        ("ID", shown["ID"]),
        ("Name", shown["Spec"]["Name"]),
        ("Labels", "".join(f"\n - {key}={value}" for key, value in shown["Spec"]["Labels"].items())),
        ("Driver", shown["Spec"]["Driver"]["Name"]),
        ("Created at", shown["CreatedAt"]),
        ("Updated at", shown["UpdatedAt"]),
    ]
    if "SecretData" in shown:
        rows.append(("SecretData", shown["SecretData"]))
    return "".join(f"{key + ':':<19}{value}\n" for key, value in rows)
