"""`search`: images in registries, and with --list-tags the tags of a repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rootless.cli.failures import warn
from rootless.cli.options import Opts, boolean
from rootless.cli.output import pretty_json, table, write
from rootless.cli.registry_options import access_of
from rootless.cli.settings import Settings
from rootless.errors import UsageError
from storage.registry.listing import Found
from storage.remote.pull_tags import tags_of
from storage.remote.search import Result, search

_USUAL = 25
_MOST = 100
_SHORT = 44  # characters of a description
_HEADINGS = {"Official": "OFFICIAL", "Automated": "AUTOMATED", "Index": "INDEX", "Stars": "STARS", "Tag": "TAG"}
_FILTERS = ("is-automated", "is-official", "stars")

Row = dict[str, Any]


def command(settings: Settings, opts: Opts) -> int:
    """Print what is found for `opts.term`."""
    if opts.limit is not None and not 0 <= opts.limit <= (_MOST if not opts.list_tags else 1 << 31):
        raise UsageError(f"--limit {opts.limit}: it is not between 0 and {_MOST}")
    passes = _filter(opts.filter)
    if opts.list_tags:
        if opts.filter:
            raise UsageError("--list-tags: tags cannot be filtered")
        return _list_tags(opts)
    results, faults = search(opts.term, access_of(opts), opts.limit or _USUAL)
    for fault in faults:
        warn(fault.message, fault.hint)
    rows = [_row(result, opts.no_trunc) for result in results if passes(result.found)]
    if opts.format == "json":
        write(pretty_json(rows) + "\n")
    elif opts.format:
        from rootless.cli.template import rows as render

        write(render(opts.format, rows, _HEADINGS))
    elif rows:
        columns = (
            ["Name", "Description", "Stars", "Official", "Automated"] if opts.compatible else ["Name", "Description"]
        )
        write(table([[column.upper() for column in columns], *([str(row[c]) for c in columns] for row in rows)]))
    return 0


def _list_tags(opts: Opts) -> int:
    reference, tags = tags_of(opts.term, access_of(opts))
    tags = tags[: opts.limit or _USUAL]
    if opts.format == "json":
        write(pretty_json([{"Name": reference.name, "Tags": tags}]) + "\n")
    elif opts.format:
        from rootless.cli.template import rows as render

        write(render(opts.format, [{"Name": reference.name, "Tag": tag} for tag in tags], _HEADINGS))
    elif tags:
        write(table([["NAME", "TAG"], *([reference.name, tag] for tag in tags)]))
    return 0


def _row(result: Result, full: bool) -> Row:
    """One result with Podman's names for its fields."""
    found = result.found
    text = " ".join(found.description.split())
    return {
        "Index": result.index,
        "Name": result.name,
        "Description": text if full or len(text) <= _SHORT else text[:_SHORT] + "...",
        "Stars": found.stars,
        "Official": "[OK]" if found.official else "",
        "Automated": "[OK]" if found.automated else "",
        "Tag": "",
    }


def _filter(filters: list[str]) -> Callable[[Found], bool]:
    """The test that all `--filter`s together are. Raises UsageError."""
    stars = 0
    wanted: dict[str, bool] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if key not in _FILTERS or (key == "stars" and not equals):
            raise UsageError(f"--filter {text}: not one of {', '.join(_FILTERS)}", "for example: --filter stars=10")
        try:
            if key == "stars":
                stars = int(value)
            else:
                wanted[key] = boolean(value) if equals else True
        except ValueError:
            raise UsageError(f"--filter {text}: {value!r} is not a value for it") from None
    return lambda found: (
        found.stars >= stars
        and wanted.get("is-official", found.official) == found.official
        and wanted.get("is-automated", found.automated) == found.automated
    )
