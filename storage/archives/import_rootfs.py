"""Making an image of the tarball of a root file system (`rootless import`)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rootless.errors import ImageError, NotFoundError
from rootless.jsontext import dumps
from rootless.kernel.fifos import open_to_read
from rootless.kernel.files import write_all
from storage.archives.import_url import is_url, open_url, without_secrets
from storage.documents.instructions import apply_changes
from storage.documents.manifests import OCI_MANIFEST
from storage.documents.write import oci_manifest
from storage.events import emit
from storage.images.rows import AddedLayer, add_image, full_name
from storage.layers.store import LayerExtraction, LayerInfo
from storage.lease import Lease
from storage.platforms import host_platform
from storage.progress import Progress
from storage.settings.policy import check_unsigned
from storage.store import Store

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`changes`: as in a Containerfile; `message`: for the history; the platform is the host's by default."""

    changes: Sequence[str] = ()
    message: str | None = None
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None


def import_rootfs(
    store: Store, path: str, name: str | None, options: ImportOptions, progress: Progress | None = None
) -> str:
    """Make an image of one layer from the tarball at `path` ("-": standard input; or a URL), plain or compressed; its
    id.

    Raises UsageError for bad changes or names, and RegistryError where policy.json lets no tarballs in, before anything
    is read; NotFoundError, ImageError, RegistryError for the tarball.
    """
    names = [full_name(name)] if name else []
    inner: dict[str, Any] = {}
    apply_changes(inner, options.changes)
    check_unsigned("tarball", [], "importing " + (without_secrets(path) if is_url(path) else path))
    with Lease(store) as lease:
        info = _extract(store, path, lease)
        if progress:
            progress.layer(info.diff_id, info.tar_size)
            progress.done(info.diff_id)
        config = dumps(_configuration(inner, info.diff_id, path, options)).encode()
        manifest = oci_manifest(config, [(info.diff_id, info.tar_size)])
        layer = AddedLayer(info.diff_id, info.size, info.tar_size)
        image_id = add_image(store, config, manifest, OCI_MANIFEST, [layer], names)
    emit(store, "image", "import", image_id, name or path)
    return image_id


def _configuration(inner: dict[str, Any], diff_id: str, path: str, options: ImportOptions) -> dict[str, Any]:
    now = time.time_ns()
    created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"
    host = host_platform()
    config = {
        "created": created,
        "architecture": options.architecture or host.architecture,
        "os": options.os or host.os,
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [
            {
                "created": created,
                "created_by": f"/bin/sh -c #(nop) ADD file:{diff_id} in / ",
                "comment": options.message or f"Imported from {without_secrets(path) if is_url(path) else path}",
            }
        ],
    }
    if options.variant:
        config["variant"] = options.variant
    return config


def _extract(store: Store, path: str, lease: Lease) -> LayerInfo:
    if is_url(path):
        with open_url(path) as read:
            return _streamed(store, read, f"importing {without_secrets(path)}", lease)
    what = "importing " + ("standard input" if path == "-" else path)
    try:
        descriptor = os.dup(0) if path == "-" else open_to_read(path)
    except FileNotFoundError:
        raise NotFoundError(f"{what}: no such file") from None
    except OSError as error:
        raise ImageError(f"{what}: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise ImageError(f"{what}: it is a directory", f"tar -C {path} -c . | rootless import -")
        if not stat.S_ISREG(found.st_mode):
            if os.isatty(descriptor):
                raise ImageError(f"{what}: it is a terminal", "name a file, or < FILE")
            return _streamed(store, lambda: os.read(descriptor, _CHUNK), what, lease)
        if not found.st_size:
            raise ImageError(f"{what}: an empty file")
        return _finish(store.layers.begin_from_file(descriptor, 0, found.st_size), what, lease)
    finally:
        os.close(descriptor)


def _finish(extraction: LayerExtraction, what: str, lease: Lease) -> LayerInfo:
    try:
        return extraction.finish(lease.protect)
    except ImageError as error:
        raise ImageError(f"{what}: {error.message}", error.hint) from None


def _streamed(store: Store, read: Callable[[], bytes], what: str, lease: Lease) -> LayerInfo:
    """Extract the layer that `read` gives in pieces."""
    extraction = store.layers.begin()
    try:
        total = 0
        while data := read():
            total += len(data)
            write_all(extraction.stdin_fd, data)
        if not total:
            raise ImageError(f"{what}: there is nothing in it")
    except BrokenPipeError:
        pass  # the child has given up; `finish` tells why
    except BaseException:
        extraction.abort()
        raise
    return _finish(extraction, what, lease)
