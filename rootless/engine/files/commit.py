"""`commit`: an image out of a container."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from rootless.engine.bundle import read_config
from rootless.engine.events import container_event
from rootless.engine.files.commit_config import CommitOptions, Described, image_config
from rootless.engine.files.export import need_still
from rootless.engine.files.views import OWN_PATHS, container_view
from rootless.engine.pause import paused
from rootless.engine.records import Container
from rootless.engine.recover import find
from rootless.errors import StorageError
from rootless.faults import step
from rootless.jsontext import loads
from storage.changes.tree import Tree
from storage.changes.work import write_layer
from storage.documents.instructions import apply_changes
from storage.documents.manifests import DOCKER_MANIFEST, OCI_MANIFEST
from storage.documents.write import docker_manifest, oci_manifest
from storage.images.rows import AddedLayer, add_image, full_name, present_layer
from storage.layers.store import LayerInfo
from storage.lease import Lease
from storage.progress import Progress
from storage.store import Store


def commit(
    store: Store,
    reference: str,
    name: str | None,
    options: CommitOptions,
    tell: Callable[[str], None],
    progress: Progress | None = None,
) -> str:
    """Make an image called `name`, or nameless, of the container's files and settings; the image's id (hex).

    `tell` is given warnings of what an image cannot hold. Raises UsageError for names and changes before anything is
    read; NotFoundError, ConflictError, StorageError. On failure there is no image, and nothing else is left.
    """
    names = [full_name(name)] if name else []
    apply_changes({}, options.changes)
    container = find(store, reference)
    described = _describe(store, container, options)
    with Lease(store) as lease:
        view = container_view(store, container, lease)
        base = [] if options.squash else list(view.layers)
        layers = [_recorded(store, diff_id) for diff_id in base]
        below = Tree((), view.below.single) if options.squash else view.below
        standing_still = paused(store, container) if options.pause else nullcontext()
        with standing_still:
            info = _write(store, view.tree, below, view.stacked and not options.squash, lease, tell)
            need_still(store, container.id, container.name, "committing")
        step("commit-layer")
        if progress is not None:
            progress.layer(info.diff_id, info.tar_size)
            progress.done(info.diff_id)
        layers.append(AddedLayer(info.diff_id, info.size, info.tar_size))
        config = image_config(_base_config(store, container), described, options, [one.diff_id for one in layers])
        sizes = [(one.diff_id, one.tar_size) for one in layers]
        if options.docker:
            manifest, kind = docker_manifest(config, sizes), DOCKER_MANIFEST
        else:
            manifest, kind = oci_manifest(config, sizes), OCI_MANIFEST
        image_id = add_image(store, config, manifest, kind, layers, names)
        step("commit-image")
    container_event(store, container, "commit")
    return image_id


def _write(store: Store, tree: Tree, below: Tree, above: bool, lease: Lease, tell: Callable[[str], None]) -> LayerInfo:
    """The new layer, in its place: one child writes its tar, another extracts it, as every layer is."""
    extraction = store.layers.begin()
    try:
        out = extraction.stdin_fd
        writer = store.user_namespace().spawn(write_layer, tree, below, above, OWN_PATHS, out, keep_fds=[out])
        extraction.close_input()
        _, refused = writer.result()
    except BrokenPipeError:
        refused = []  # the extracting child has given up; `finish` tells why
    except BaseException:
        extraction.abort()
        raise
    step("commit-written")
    info = extraction.finish(lease.protect)
    for why, path in refused[:5]:
        tell(f"{os.fsdecode(path)!r} is not in the image: {why}")
    if len(refused) > 5:
        tell(f"{len(refused) - 5} more files are not in the image for the same reason")
    return info


def _recorded(store: Store, diff_id: str) -> AddedLayer:
    found = present_layer(store, diff_id)
    if found is None:
        raise StorageError(f"committing: the layer {diff_id[:12]} is missing", "pull or load the image again")
    return found


def _base_config(store: Store, container: Container) -> dict[str, Any] | None:
    row = store.db.execute("SELECT config FROM images WHERE id = ?", (container.image_id,)).fetchone()
    return loads(row[0]) if row else None


def _describe(store: Store, container: Container, options: CommitOptions) -> Described:
    request = loads(container.request)
    config = read_config(store.layout.container(container.id), "replace")
    return Described(
        request=request,
        process=config["process"],
        image_name=container.image_name,
        labels=loads(container.labels),
        mounted=_mounted(store, container, request) if options.volumes else _anonymous(store, container, request),
        ports=[f"{port}/{protocol}" for _, _, port, protocol in loads(container.ports)],
    )


def _anonymous(store: Store, container: Container, request: dict[str, Any]) -> Sequence[str]:
    """Where the container has volumes that nobody has named."""
    rows = store.db.execute(
        "SELECT name FROM volumes JOIN container_volumes ON volume = name WHERE container_id = ? AND anonymous = 1",
        (container.id,),
    ).fetchall()
    nameless = {name for (name,) in rows}
    mounts = request.get("inspected_mounts") or []
    return sorted(mount["Destination"] for mount in mounts if mount.get("Name") in nameless)


def _mounted(store: Store, container: Container, request: dict[str, Any]) -> Sequence[str]:
    """Everything that the user has mounted."""
    found = {mount["Destination"] for mount in request.get("inspected_mounts") or []}
    found |= {text.partition(":")[0] for text in request.get("tmpfs") or []}
    for text in request.get("mount") or []:
        words = dict(word.partition("=")[::2] for word in text.split(","))
        target = words.get("target") or words.get("dst") or words.get("destination")
        if target:
            found.add(os.path.normpath(target))
    return sorted(found)
