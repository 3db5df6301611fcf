"""`images`: one line for each name of each image."""

from __future__ import annotations

from rootless.cli.output import ago, go_time, human_size, lines, table, write
from storage.images.listing import list_images, repo_digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from storage.images.listing import ListedImage
    from storage.store import Store

NONE = "<none>"
_HEADINGS = {"ID": "IMAGE ID", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT"}


class Line:
    """One name of an image; `repository` and `tag` are "<none>" where it has none, the tag also where it was pulled by
    digest."""

    __slots__ = ("image", "repository", "tag")

    def __init__(self, image: ListedImage, name: str) -> None:
        repository, _, tag = (name.partition("@")[0], "", "") if "@" in name else name.rpartition(":")
        self.image = image
        self.repository = repository or NONE
        self.tag = tag or NONE


def command(settings: Settings, opts: Opts) -> int:
    """List the images of the store, filtered and sorted."""
    images = _chosen(settings.store(), opts)
    if opts.format == "json":
        from rootless.cli.output import pretty_json

        write(pretty_json([_json(image) for image in images]) + "\n")
        return 0
    if opts.quiet and not opts.format:
        seen = dict.fromkeys(line.image.id for line in _sorted(images, opts))
        lines((f"sha256:{id}" if opts.no_trunc else id[:12]) for id in seen)
        return 0
    rows = _sorted(images, opts)
    if opts.format:
        from rootless.cli.template import rows as render

        fields = [_fields(line, opts.no_trunc) for line in rows]
        write(render(opts.format, fields, _HEADINGS, not opts.noheading))
        return 0
    write(_table(rows, opts))
    return 0


def _chosen(store: Store, opts: Opts) -> list[ListedImage]:
    filters = list(opts.filter)
    if not filters and not opts.image:
        return list_images(store.db, bool(opts.format))
    from storage.images.filters import WITH_CONFIG, image_filter, matches, split_filters

    pairs = split_filters(filters)
    with_config = bool(opts.format) or any(key in WITH_CONFIG for key, _ in pairs)
    passes = image_filter(store.db, pairs)
    images = [image for image in list_images(store.db, with_config) if passes(image)]
    if opts.image:
        for image in images:
            image.names = [name for name in image.names if matches(name, opts.image)]
            image.pinned = [name for name in image.pinned if matches(name, opts.image)]
        images = [image for image in images if not image.dangling]
    return images


def _names(image: ListedImage) -> list[str]:
    """The names that have a line each: one that has tags is not listed by digest too."""
    return image.names or image.pinned or [""]


def _sorted(images: list[ListedImage], opts: Opts) -> list[Line]:
    rows = [Line(image, name) for image in images for name in _names(image)]
    if opts.sort == "id":
        rows.sort(key=lambda line: line.image.id)
    elif opts.sort == "repository":
        rows.sort(key=lambda line: (line.repository, line.tag))
    elif opts.sort == "size":
        rows.sort(key=lambda line: line.image.size)
    elif opts.sort == "tag":
        rows.sort(key=lambda line: (line.tag, line.repository))
    return rows


def _table(rows: list[Line], opts: Opts) -> str:
    cells = [] if opts.noheading else [["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]]
    for line in rows:
        image = line.image
        shown = f"sha256:{image.id}" if opts.no_trunc else image.id[:12]
        created = ago(image.created_unix) if image.created_unix else "N/A"
        cells.append([line.repository, line.tag, shown, created, human_size(image.size)])
    if opts.digests:
        digests = [] if opts.noheading else ["DIGEST"]
        for row, digest in zip(cells, digests + [line.image.digest for line in rows], strict=True):
            row.insert(2, digest)
    return table(cells)


def _fields(line: Line, full: bool) -> dict[str, Any]:
    """What `--format` can name."""
    from rootless.cli.template.values import Structure

    image = line.image
    since = ago(image.created_unix) if image.created_unix else "N/A"
    size = human_size(image.size)
    fields = {
        "ID": f"sha256:{image.id}" if full else image.id[:12],
        "Id": image.id,
        "Repository": line.repository,
        "Tag": line.tag,
        "Digest": image.digest,
        "Digests": repo_digests(image),
        "RepoDigests": repo_digests(image),
        "RepoTags": image.names,
        "Names": [*image.names, *image.pinned],
        "History": [*image.names, *image.pinned],
        "Created": since,
        "CreatedSince": since,
        "CreatedAt": go_time(image.created_unix),
        "CreatedTime": go_time(image.created_unix),
        "Size": size,
        "VirtualSize": size,
        "SharedSize": 0,
        "Containers": image.containers,
        "Labels": _labels(image),
        "Dangling": image.dangling,
        "ReadOnly": False,
        "ParentId": "",
    }
    return Structure(fields, lambda: _json(image) | {"repository": line.repository, "tag": line.tag})


def _json(image: ListedImage) -> dict[str, Any]:
    """The object of `--format json`, with Podman's keys; times in Unix seconds and RFC 3339."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": image.names,
        "RepoDigests": repo_digests(image),
        "Size": image.size,
        "SharedSize": 0,
        "VirtualSize": image.size,
        "Labels": _labels(image),
        "Containers": image.containers,
        "Dangling": image.dangling,
        "Names": [*image.names, *image.pinned],
        "Digest": image.digest,
        "History": [*image.names, *image.pinned],
        "Created": int(image.created_unix),
        "CreatedAt": image.created,
    }


def _labels(image: ListedImage) -> dict[str, str]:
    labels: dict[str, str] = (image.config.get("config") or {}).get("Labels") or {}
    return labels
