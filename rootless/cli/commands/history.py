"""`history`: the steps that made an image, newest first."""

from __future__ import annotations

from typing import Any

from rootless.cli.options import Opts
from rootless.cli.output import ago, go_time, human_size, lines, pretty_json, table, write
from rootless.cli.settings import Settings
from storage.images.describe import Step, history
from storage.lookup import need_image

_MISSING = "<missing>"
_WIDTH = 45  # of CREATED BY, as Docker cuts it
_HEADINGS = {"CreatedBy": "CREATED BY", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}


def command(settings: Settings, opts: Opts) -> int:
    """Show the steps as a table, ids, JSON or through a template."""
    store = settings.store()
    steps = history(store, need_image(store.db, opts.image))
    if opts.format == "json":
        write(pretty_json([_json(step) for step in steps]) + "\n")
    elif opts.quiet and not opts.format:
        lines(_id(step, opts.no_trunc) for step in steps)
    elif opts.format:
        from rootless.cli.template import rows

        write(rows(opts.format, [_fields(step, opts) for step in steps], _HEADINGS))
    else:
        cells = [["ID", "CREATED", "CREATED BY", "SIZE", "COMMENT"]]
        for step in steps:
            fields = _fields(step, opts)
            cells.append([fields[key] for key in ("ID", "Created", "CreatedBy", "Size", "Comment")])
        write(table(cells))
    return 0


def _id(step: Step, full: bool) -> str:
    return (step.id if full else step.id[:12]) or _MISSING


def _fields(step: Step, opts: Opts) -> dict[str, Any]:
    from rootless.cli.template.values import Structure

    by = step.created_by
    if not opts.no_trunc and len(by) > _WIDTH:
        by = by[: _WIDTH - 3] + "..."
    since = ago(step.created)
    fields = {
        "ID": _id(step, opts.no_trunc),
        "Created": since if opts.human else step.created_text,
        "CreatedSince": since,
        "CreatedAt": step.created_text or go_time(step.created),
        "CreatedBy": " ".join(by.split()),
        "Size": human_size(step.size).replace(" ", "") if opts.human else str(step.size),
        "Comment": step.comment,
        "Tags": step.tags,
    }
    return Structure(fields, lambda: _json(step))


def _json(step: Step) -> dict[str, Any]:
    return {
        "id": step.id or _MISSING,
        "created": step.created_text,
        "CreatedBy": step.created_by,
        "tags": step.tags,
        "size": step.size,
        "comment": step.comment,
        "Created": step.created_text,
    }
