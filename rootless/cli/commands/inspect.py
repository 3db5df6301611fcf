"""`inspect`: everything about containers, images and volumes, as JSON or through a template."""

from __future__ import annotations

from rootless.cli.output import pretty_json, write
from rootless.engine.inspect.container import inspect_container
from rootless.engine.recover import find
from rootless.errors import NotFoundError, RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from storage.store import Store

_INDENT = "     "  # five blanks, as Podman's
_LISTS = {"image": "`rootless images` lists them"}


def command(settings: Settings, opts: Opts) -> int:
    """Print what is found, in the order of the names; those that are not there are told after it (exit code 125)."""
    store = settings.store()
    names = opts.names
    if opts.latest:
        if names:
            raise UsageError("inspect: --latest and a name exclude each other")
        if opts.type not in ("all", "container"):
            raise UsageError(f"inspect: --latest is a container, and --type {opts.type} is none")
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
    """What there is of this name; with the kind "all" a container, else an image, else a volume."""
    if kind in ("all", "container"):
        try:
            return inspect_container(store, find(store, name), size)
        except NotFoundError:
            if kind == "container":
                raise
    if kind in ("all", "image"):
        found = _image(store, name, kind)
        if found is not None:
            return found
    if kind in ("all", "volume"):
        found = _volume(store, name, kind)
        if found is not None:
            return found
    if kind == "all":
        where = "`rootless ps -a`, `rootless images` and `rootless volume ls` list what there is"
        raise NotFoundError(f'no such object: "{name}"', where)
    raise NotFoundError(f"no such {kind} {name}", _LISTS.get(kind))


def _image(store: Store, name: str, kind: str) -> dict[str, Any] | None:
    from storage.images.describe import inspect_image
    from storage.lookup import find_image

    try:
        image = find_image(store.db, name)
    except UsageError:
        if kind == "image":
            raise
        return None  # a volume may be called what no image may
    return inspect_image(store, image) if image is not None else None


def _volume(store: Store, name: str, kind: str) -> dict[str, Any] | None:
    from rootless.cli.template.values import Structure
    from rootless.cli.volumes import all_described
    from storage.volumes.rows import find_volume

    try:
        volume = find_volume(store.db, name)
    except NotFoundError:
        if kind == "volume":
            raise
        return None
    return Structure(all_described(store, [volume])[0])


def _print(found: list[dict[str, Any]], template: str | None) -> None:
    if template is None or template == "json":
        write(pretty_json(found, _INDENT) + "\n")
    elif found:
        from rootless.cli.template import rows

        write(rows(template, found))
