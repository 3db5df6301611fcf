"""`inspect`: everything about containers and images, as JSON or through a template."""

from __future__ import annotations

from rootless.cli.output import pretty_json, write
from rootless.engine.inspect import inspect_container
from rootless.engine.recover import find
from rootless.errors import NotFoundError, RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from storage.store import Store

_INDENT = "     "  # five blanks, as Podman's


def command(settings: Settings, opts: Opts) -> int:
    """Print what is found, in the order of the names; those that are not there are told after it (exit code 125)."""
    store = settings.store()
    names = opts.names
    if opts.latest:
        if names:
            raise UsageError("inspect: --latest and a name exclude each other")
        from rootless.engine.records import latest

        names = [latest(store.db).id]
    if not names:
        raise UsageError("inspect: nothing is named", "usage: rootless inspect [OPTIONS] NAME...")
    found: list[dict[str, Any]] = []
    failures: list[RootlessError] = []
    for name in names:
        try:
            found.append(_one(store, name, opts.type, opts.size))
        except RootlessError as error:
            failures.append(error)
    _print(found, opts.format)
    code = 0
    for failure in failures:
        from rootless.cli.failures import tell

        code = tell(failure, settings.log_level)
    return code


def _one(store: Store, name: str, kind: str, size: bool) -> dict[str, Any]:
    if kind != "image":
        try:
            return inspect_container(store, find(store, name), size)
        except NotFoundError:
            if kind == "container":
                raise
    from storage.image_describe import inspect_image
    from storage.lookup import find_image

    image = find_image(store.db, name)
    if image is None:
        what = "image" if kind == "image" else "container or image"
        raise NotFoundError(
            f'no {what} with name or ID "{name}" found', "`rootless ps -a` and `rootless images` list them"
        )
    return inspect_image(store, image)


def _print(found: list[dict[str, Any]], template: str | None) -> None:
    if template is None or template == "json":
        write(pretty_json(found, _INDENT) + "\n")
    elif found:
        from rootless.cli.template import rows

        write(rows(template, found))
