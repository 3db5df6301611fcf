"""What a shell offers for the word under the cursor: names of containers and images, and values of options."""

from __future__ import annotations

from collections.abc import Callable

import typer

from rootless.cli.options import Argument, Option

Completer = Callable[[typer.Context, str], list[str]]

_VALUES = {"network": ("host", "none", "slirp4netns"), "storage_driver": ("btrfs", "fuse-overlayfs", "overlay", "vfs")}


def of_option(option: Option) -> Completer | None:
    values = option.choices or _VALUES.get(option.dest)
    return _among(values) if values else None


def of_argument(argument: Argument) -> Completer | None:
    """Completes names from the store; None leaves the shell to offer files."""
    return {"container": _containers, "running": _running, "image": _images, "volume": _volumes}.get(argument.completes)


def _among(values: tuple[str, ...]) -> Completer:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def _containers(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "SELECT name FROM containers ORDER BY name")


def _running(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "SELECT name FROM containers WHERE state = 'running' ORDER BY name")


def _volumes(ctx: typer.Context, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, "SELECT name FROM volumes ORDER BY name")


def _images(ctx: typer.Context, incomplete: str) -> list[str]:
    from storage.references import parse

    found = _names(ctx, "", "SELECT name FROM image_names ORDER BY name")
    return [
        name for full in found for name in (parse(full).familiar, full) if incomplete and name.startswith(incomplete)
    ] or [parse(full).familiar for full in found if not incomplete]


def _names(ctx: typer.Context, incomplete: str, query: str) -> list[str]:
    """First column of `query`; nothing where the store cannot be read, as a shell that completes wants no error."""
    from rootless.cli.settings import Settings

    given = ctx.find_root().params
    try:
        database = Settings(given.get("root"), given.get("runroot")).store().db
        return [name for (name,) in database.execute(query) if name.startswith(incomplete)]
    except Exception:
        return []
