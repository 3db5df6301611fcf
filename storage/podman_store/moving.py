"""From Podman's store into ours: configuration and manifest byte for byte, layers extracted from their rebuilt tars."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rootless.errors import ImageError, NotFoundError, RootlessError, StorageError
from rootless.kernel.userns import Child
from storage import compress
from storage.documents.config import digest_hex, parse_config
from storage.documents.manifests import Manifest, parse_manifest
from storage.documents.platform_choice import choose
from storage.images.rows import AddedLayer, add_image, present_layer, record_layers
from storage.layers.store import LayerExtraction
from storage.lease import Lease
from storage.platforms import Platform
from storage.podman_store.images import PodmanImage, find_image, is_id, list_images, read_list
from storage.podman_store.places import PodmanStore, find_store, split_store
from storage.podman_store.tar_split import rebuild
from storage.progress import Progress
from storage.references import parse
from storage.settings.policy import check_unsigned, storage_scopes
from storage.store import Store

_AT_ONCE = 2 * (os.cpu_count() or 1)
_WAY_ROUND = "podman save NAME | rootless load"
_SPARSE = (
    "rootless pull NAME gets it from its registry (of sparse files Podman keeps too little, also for `podman save`)"
)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer in Podman's store: where, its id there, and its diffID (hex)."""

    place: PodmanStore
    id: str
    diff_id: str
    size: int


def copy_image(store: Store, text: str, platform: Platform, progress: Progress) -> tuple[str, list[str]]:
    """Add the image that `text` ("[driver@root]name", "name", an id) means in Podman's store; its id, and its names.

    By name it gets that name, by id all that it has there. Raises NotFoundError, which lists what there is, ImageError,
    StorageError.
    """
    driver, root, name = split_store(text)
    theirs = find_store(driver, root)
    what = f"reading {name} from Podman's store {theirs}"
    images = list_images(theirs)
    image, names = find_image(theirs, images, name)
    scopes = storage_scopes(theirs.driver, theirs.root, parse(names[0]) if names else None, image.id)
    check_unsigned("containers-storage", scopes, what)
    image, data, manifest = _instance(images, image, platform, what)
    config = image.data(f"sha256:{manifest.config.digest}")
    if hashlib.sha256(config).hexdigest() != manifest.config.digest:
        raise ImageError(f"{what}: its configuration is damaged")
    diff_ids = [digest_hex(digest, what) for digest in parse_config(config, what)["rootfs"]["diff_ids"]]
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with Lease(store) as lease:
        lease.protect(diff_ids)
        known = {diff_id: present_layer(store, diff_id) for diff_id in diff_ids}
        for diff_id, layer in known.items():
            if layer:
                progress.done(diff_id, "already here")
        chain = _chain(theirs, image, diff_ids, what)
        missing = {layer.diff_id: layer for layer in chain if known[layer.diff_id] is None}
        added = _extract(store, list(missing.values()), what, progress)
        layers = [known[diff_id] or added[diff_id] for diff_id in diff_ids]
        tagged = [name for name in names if "@" not in name]
        by_digest = [name for name in names if "@" in name]
        image_id = add_image(
            store,
            config,
            data,
            manifest.media_type,
            [layer for layer in layers if layer],
            tagged,
            {*by_digest, *(f"{parse(name).name}@{digest}" for name in names)},
            by_digest[0] if by_digest else None,
        )
    return image_id, names


def _instance(
    images: list[PodmanImage], image: PodmanImage, platform: Platform, what: str
) -> tuple[PodmanImage, bytes, Manifest]:
    """The image with its manifest; of a manifest list, the image of the platform."""
    data = image.manifest()
    found = parse_manifest(data, "", what)
    if isinstance(found, Manifest):
        return image, data, found
    digest = f"sha256:{choose(found, platform, what).descriptor.digest}"
    for member in images:
        if digest in (member.digest, *member.digests) and member.top:
            data = member.manifest(digest)
            found = parse_manifest(data, "", what)
            if isinstance(found, Manifest):
                return member, data, found
    raise NotFoundError(f"{what}: it is a list, and its image for {platform} is not there", "podman pull fetches it")


def _chain(theirs: PodmanStore, image: PodmanImage, diff_ids: Sequence[str], what: str) -> list[_Layer]:
    """The image's layers in Podman's store, the lowest first, as its configuration lists them."""
    known: dict[str, tuple[PodmanStore, dict[str, Any]]] = {}
    for place in (*theirs.others[::-1], theirs):
        for name in ("layers.json", "volatile-layers.json"):
            for entry in read_list(f"{place.layers}/{name}"):
                if is_id(entry.get("id")):
                    known[entry["id"]] = (place, entry)
    found: list[tuple[PodmanStore, dict[str, Any]]] = []
    current = image.top
    while current and len(found) <= len(diff_ids):
        if current not in known:
            raise ImageError(f"{what}: its layer {current[:12]} is missing there", "podman system check looks into it")
        found.append(known[current])
        current = str(known[current][1].get("parent") or "")
    if len(found) != len(diff_ids):
        raise ImageError(f"{what}: it has other layers there than its configuration lists", _WAY_ROUND)
    chain = []
    for (place, entry), diff_id in zip(reversed(found), diff_ids, strict=True):
        if entry.get("diff-digest") not in (None, "", f"sha256:{diff_id}"):
            raise ImageError(f"{what}: it has other layers there than its configuration lists", _WAY_ROUND)
        size = entry.get("diff-size")
        chain.append(_Layer(place, entry["id"], diff_id, size if isinstance(size, int) else 0))
    return chain


def _extract(store: Store, layers: list[_Layer], what: str, progress: Progress) -> dict[str, AddedLayer]:
    """Extract them, some side by side; each takes a child that rebuilds its tar and one that extracts it."""
    compress.preload(compress.GZIP)
    added: dict[str, AddedLayer] = {}
    running: list[tuple[_Layer, Child, LayerExtraction]] = []
    waiting = sorted(layers, key=lambda layer: layer.size)
    try:
        while waiting or running:
            if waiting and len(running) < _AT_ONCE:
                layer = waiting.pop()
                progress.layer(layer.diff_id, layer.size)
                running.append((layer, *_begin(store, layer, what)))
                continue
            layer, child, extraction = running.pop(0)
            added[layer.diff_id] = _finish(child, extraction, what)
            record_layers(store, [added[layer.diff_id]])
            progress.done(layer.diff_id)
    finally:
        for _, child, extraction in running:
            child.kill()
            extraction.abort()
    return added


def _begin(store: Store, layer: _Layer, what: str) -> tuple[Child, LayerExtraction]:
    split = f"{layer.place.layers}/{layer.id}.tar-split.gz"
    opened: list[int] = []
    try:
        opened.append(os.open(split, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        if not stat.S_ISREG(os.fstat(opened[0]).st_mode):
            raise ImageError(f"{what}: {split} is not a file")
        opened.append(os.open(layer.place.diff(layer.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        extraction = store.layers.begin(layer.diff_id)
        try:
            out = extraction.stdin_fd
            child = store.user_namespace().spawn(rebuild, *opened, out, keep_fds=[*opened, out])
        except BaseException:
            extraction.abort()
            raise
    except OSError as error:
        raise ImageError(f"{what}: {error.filename}: {error.strerror}", _WAY_ROUND) from None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    extraction.close_input()
    return child, extraction


def _finish(child: Child, extraction: LayerExtraction, what: str) -> AddedLayer:
    try:
        child.result()
    except BrokenPipeError:
        pass  # the extraction has given up, and tells why
    except BaseException as error:
        extraction.abort()
        if isinstance(error, (StorageError, OSError)):
            raise ImageError(f"{what}: {error}", _WAY_ROUND) from None
        raise
    try:
        info = extraction.finish()
    except RootlessError as error:
        raise ImageError(f"{what}: {error.message}", error.hint or _SPARSE) from None
    return AddedLayer(info.diff_id, info.size, info.tar_size)
