"""`version`: ours."""

from __future__ import annotations

from rootless.cli.output import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """Print the version in Podman's shape; in a template, `.Server` is `.Client`, for there is no service."""
    from rootless.engine.version import describe

    client = describe()
    if opts.format == "json":
        from rootless.cli.output import pretty_json

        write(pretty_json({"Client": client}) + "\n")
    elif opts.format:
        from rootless.cli.template import render

        write(render(opts.format, {"Client": client, "Server": client}) + "\n")
    else:
        rows = (
            ("Client:", "Rootless Engine"),
            ("Version:", client["Version"]),
            ("API Version:", client["APIVersion"]),
            ("Python Version:", client["PythonVersion"]),
            ("OS/Arch:", client["OsArch"]),
        )
        write("".join(f"{name:<16}{value}\n" for name, value in rows))
    return 0
