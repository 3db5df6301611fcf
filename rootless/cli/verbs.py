"""Doing what a line says, once it is read, by the small parser or by typer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Command, Opts
    from rootless.cli.settings import Settings

VERSION_LINE = "rootless version {{.Client.Version}}"  # what --version prints


def execute(command: Command, settings: Settings, opts: Opts) -> int:
    """Run the verb. Returns its exit code; errors pass."""
    module = __import__(f"rootless.cli.commands.{command.module}", fromlist=("command",))
    code: int = module.command(settings, opts)
    return code
