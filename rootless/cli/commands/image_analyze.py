"""`image analyze`: what each layer adds, changes and removes, and what of it is wasted."""

from __future__ import annotations

import os
from typing import Any

from rootless.cli import gates
from rootless.cli.options import Opts
from rootless.cli.output import human_size, pretty_json, short, table, write
from rootless.cli.settings import Settings
from rootless.errors import RootlessError, UsageError
from storage.images.analysis import Analysis, FileReport, LayerReport, Tally, analyze_image
from storage.lookup import Image, need_image

_WIDTH = 60  # of CREATED BY
_WORST = 10  # files that the table shows
_HEADINGS = {"CreatedBy": "CREATED BY"}


def command(settings: Settings, opts: Opts) -> int:
    """Print the analysis of `opts.image`, or browse it; an image that breaks a limit is an error with exit code 1."""
    limits = _limits(opts)
    if opts.interactive:
        _check_interactive(opts)
    store = settings.store()
    image = need_image(store.db, opts.image)
    found = analyze_image(store, image)
    if opts.interactive:
        from rootless.cli.analysis_view import browse

        browse(opts.image, found)
    elif opts.format == "json":
        write(pretty_json(_json(image, found)) + "\n")
    elif opts.format:
        from rootless.cli.template import rows

        write(rows(opts.format, [_fields(layer, opts.no_trunc) for layer in found.layers], _HEADINGS))
    else:
        write(_report(image, found, opts.no_trunc))
    faults = gates.broken(found, *limits)
    if faults:
        raise RootlessError(f"{opts.image} breaks a limit:" + "".join(f"\n  {fault}" for fault in faults), exit_code=1)
    return 0


def _limits(opts: Opts) -> tuple[float | None, int | None, float | None]:
    efficiency = opts.lowest_efficiency or ("0.9" if opts.ci else gates.DISABLED)
    share = opts.highest_user_wasted_percent or ("0.1" if opts.ci else gates.DISABLED)
    return (
        gates.share_of(efficiency, "--lowest-efficiency"),
        gates.bytes_of(opts.highest_wasted_bytes or gates.DISABLED, "--highest-wasted-bytes"),
        gates.share_of(share, "--highest-user-wasted-percent"),
    )


def _check_interactive(opts: Opts) -> None:
    if opts.format:
        raise UsageError("--interactive prints nothing that could have a --format", "choose one of the two")
    if not (os.isatty(0) and os.isatty(1)):
        raise UsageError("--interactive needs a terminal", "without it a table is printed, or --format json")
    from importlib.util import find_spec

    if find_spec("textual") is None:
        raise RootlessError(
            "browsing an analysis: the Python package textual is not installed beside rootless",
            "pip install 'rootless[analyze]'",
        )


def _report(image: Image, found: Analysis, full: bool) -> str:
    named = ", ".join(image.names) or "<none>"
    share = f", {found.wasted_user:.1%} of what is above the lowest layer" if found.user_size else ""
    head = (
        f"Image ID:   {image.id if full else short(image.id)}\n"
        f"Tags:       {named}\n"
        f"Size:       {human_size(found.size)} in {len(found.layers)} layer{'s' if len(found.layers) != 1 else ''}\n"
        f"Efficiency: {found.efficiency:.2%}\n"
        f"Wasted:     {human_size(found.wasted)}{share}\n"
    )
    cells = [["LAYER", "SIZE", "ADDED", "CHANGED", "REMOVED", "CREATED BY"]]
    for layer in found.layers:
        fields = _fields(layer, full)
        cells.append([fields[key] for key in ("ID", "Size", "Added", "Changed", "Removed", "CreatedBy")])
    text = head + ("\n" + table(cells) if found.layers else "")
    worst = [file for file in found.files if file.wasted][: None if full else _WORST]
    if worst:
        rows = [[human_size(file.wasted), str(file.copies), _path(file)] for file in worst]
        text += "\n" + table([["WASTED", "COPIES", "FILE"], *rows])
    return text


def _path(file: FileReport) -> str:
    return "/" + os.fsdecode(file.path)


def _fields(layer: LayerReport, full: bool) -> dict[str, Any]:
    command = " ".join(layer.command.split())
    if not full and len(command) > _WIDTH:
        command = command[: _WIDTH - 3] + "..."
    return {
        "ID": layer.diff_id if full else short(layer.diff_id),
        "Size": human_size(layer.size),
        "Added": _tally(layer.added),
        "Changed": _tally(layer.changed),
        "Removed": _tally(layer.removed),
        "CreatedBy": command,
    }


def _tally(tally: Tally) -> str:
    return f"{tally.files} ({human_size(tally.bytes)})" if tally.files else "0"


def _json(image: Image, found: Analysis) -> dict[str, Any]:
    """dive's keys, and more beside them."""
    return {
        "layer": [
            {
                "index": number,
                "id": layer.diff_id,
                "digestId": f"sha256:{layer.diff_id}",
                "sizeBytes": layer.size,
                "command": layer.command,
                "added": _tally_json(layer.added),
                "changed": _tally_json(layer.changed),
                "removed": _tally_json(layer.removed),
            }
            for number, layer in enumerate(found.layers)
        ],
        "image": {
            "id": image.id,
            "sizeBytes": found.size,
            "userSizeBytes": found.user_size,
            "inefficientBytes": found.wasted,
            "wastedUserPercent": found.wasted_user,
            "efficiencyScore": found.efficiency,
            "fileReference": [
                {"count": file.copies, "sizeBytes": file.bytes, "wastedBytes": file.wasted, "file": _path(file)}
                for file in found.files
            ],
        },
    }


def _tally_json(tally: Tally) -> dict[str, int]:
    return {"files": tally.files, "bytes": tally.bytes}
