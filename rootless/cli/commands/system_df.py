"""`system df`: what images, containers, volumes and kept blobs take on the disk."""

from __future__ import annotations

import time
from typing import Any

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import compact_size, human_duration, pretty_json, short, table, write
from rootless.cli.settings import Settings
from rootless.engine.upkeep.disk_usage import Kind, Usage, measure
from rootless.errors import UsageError
from rootless.jsontext import loads


def command(settings: Settings, opts: Opts) -> int:
    """Print the summary, or with --verbose what it is made of. Blobs are a kind of their own: `system prune --blobs`
    lets go of them."""
    if opts.format and opts.verbose:
        raise UsageError("cannot combine --format and --verbose flags")
    usage = measure(settings.store(), warn)
    if opts.verbose:
        write(_verbose(usage))
    elif opts.format == "json":
        write(pretty_json([_json(kind) for kind in usage.kinds]) + "\n")
    elif opts.format:
        from rootless.cli.template import rows
        from rootless.cli.template.values import Structure

        write(rows(opts.format, [Structure(_json(kind)) for kind in usage.kinds]))
    else:
        cells = [["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]]
        for kind in usage.kinds:
            cells.append([kind.name, str(kind.total), str(kind.active), compact_size(kind.size), _reclaimable(kind)])
        write(table(cells))
    return 0


def _reclaimable(kind: Kind) -> str:
    return f"{compact_size(kind.reclaimable)} ({kind.percent}%)"


def _json(kind: Kind) -> dict[str, Any]:
    """The object of `--format json`, with Podman's keys; the raw ones in bytes."""
    return {
        "Type": kind.name,
        "Total": kind.total,
        "Active": kind.active,
        "RawSize": kind.size,
        "RawReclaimable": kind.reclaimable,
        "TotalCount": kind.total,
        "Size": compact_size(kind.size),
        "Reclaimable": _reclaimable(kind),
    }


def _verbose(usage: Usage) -> str:
    now = time.time()
    parts = {
        "Images": _images(usage, now),
        "Containers": _containers(usage, now),
        "Local Volumes": _volumes(usage),
        "Blobs": _blobs(usage),
    }
    return "\n".join(f"{title} space usage:\n\n{table(cells)}" for title, cells in parts.items())


def _images(usage: Usage, now: float) -> list[list[str]]:
    cells = [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]]
    for space in usage.images:
        image = space.image
        for name in image.names or image.pinned or [""]:
            repository, _, tag = (name.partition("@")[0], "", "") if "@" in name else name.rpartition(":")
            created = human_duration(now - image.created_unix) if image.created_unix else "N/A"
            sizes = [compact_size(size) for size in (image.size, space.shared, space.unique)]
            cells.append(
                [repository or "<none>", tag or "<none>", short(image.id), created, *sizes, str(image.containers)]
            )
    return cells


def _containers(usage: Usage, now: float) -> list[list[str]]:
    cells = [["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"]]
    for container, size in usage.containers:
        mounts = loads(container.request).get("inspected_mounts", [])
        cells.append(
            [
                short(container.id),
                short(container.image_id),
                container.command,
                str(sum(mount.get("Type") == "volume" for mount in mounts)),
                compact_size(size),
                human_duration(now - container.created),
                container.state,
                container.name,
            ]
        )
    return cells


def _volumes(usage: Usage) -> list[list[str]]:
    cells = [["VOLUME NAME", "LINKS", "SIZE"]]
    return cells + [[volume.name, str(len(volume.users)), compact_size(size)] for volume, size in usage.volumes]


def _blobs(usage: Usage) -> list[list[str]]:
    cells = [["BLOB", "LAYER", "SIZE", "MEDIA TYPE"]]
    return cells + [
        [short(blob.digest), short(blob.diff_id), compact_size(blob.size), blob.media_type] for blob in usage.blobs
    ]
