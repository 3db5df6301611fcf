"""Making an image of the tarball of a root file system (`rootless import`)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rootless.errors import ImageError, NotFoundError, UsageError
from rootless.jsontext import dumps
from storage.image_changes import apply_changes
from storage.images import AddedLayer, add_image, full_name
from storage.layers import LayerExtraction, LayerInfo
from storage.lease import Lease
from storage.manifest_write import oci_manifest
from storage.platforms import host_platform
from storage.progress import Progress
from storage.registry.manifests import OCI_MANIFEST
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
    """Make an image of one layer from the tarball at `path` ("-": standard input), plain or compressed; its id.

    Raises UsageError for bad changes or names before anything is read; NotFoundError, ImageError for the tarball.
    """
    names = [full_name(name)] if name else []
    inner: dict[str, Any] = {}
    apply_changes(inner, options.changes)
    with Lease(store) as lease:
        info = _extract(store, path, lease)
        if progress:
            progress.layer(info.diff_id, info.tar_size)
            progress.done(info.diff_id)
        config = dumps(_configuration(inner, info.diff_id, path, options)).encode()
        manifest = oci_manifest(config, [(info.diff_id, info.tar_size)])
        layer = AddedLayer(info.diff_id, info.size, info.tar_size)
        return add_image(store, config, manifest, OCI_MANIFEST, [layer], names)


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
                "comment": options.message or f"Imported from {path}",
            }
        ],
    }
    if options.variant:
        config["variant"] = options.variant
    return config


def _extract(store: Store, path: str, lease: Lease) -> LayerInfo:
    if path.startswith(("http://", "https://")):
        raise UsageError(f"importing {path}: only files are read here", f"curl -L {path} | rootless import -")
    what = "importing " + ("standard input" if path == "-" else path)
    try:
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"{what}: no such file") from None
    except OSError as error:
        raise ImageError(f"{what}: {error.strerror}") from None
    try:
        return _begin(store, path, descriptor).finish(lease.protect)
    except ImageError as error:
        raise ImageError(f"{what}: {error.message}", error.hint) from None
    finally:
        os.close(descriptor)


def _begin(store: Store, path: str, descriptor: int) -> LayerExtraction:
    """Extract the layer that the open file is. Raises ImageError without the file's name."""
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise ImageError("it is a directory", f"tar -C {path} -c . | rootless import -")
    if stat.S_ISREG(found.st_mode):
        if not found.st_size:
            raise ImageError("an empty file")
        return store.layers.begin_from_file(descriptor, 0, found.st_size)
    if os.isatty(descriptor):
        raise ImageError("it is a terminal", "name a file, or < FILE")
    return _stream(store, descriptor)


def _stream(store: Store, descriptor: int) -> LayerExtraction:
    extraction = store.layers.begin()
    try:
        total = 0
        while data := os.read(descriptor, _CHUNK):
            total += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(extraction.stdin_fd, view) :]
        if not total:
            raise ImageError("there is nothing in it")
    except BrokenPipeError:
        pass  # the child has given up; `finish` tells why
    except BaseException:
        extraction.abort()
        raise
    return extraction
