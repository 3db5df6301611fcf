"""An image of ours into an archive or a directory: what `push` does with a destination that is no registry."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from rootless.errors import ConflictError, ImageError, StorageError, UsageError
from rootless.jsontext import loads
from storage.archives.directory_write import DirectoryWriter
from storage.archives.plan import Chosen, Plan, choose, plan
from storage.archives.save import REF_NAME, write_directory, write_docker, write_layout
from storage.archives.write import ArchiveWriter
from storage.documents.manifests import DOCKER_MANIFEST, LIMIT, OCI_MANIFEST
from storage.lease import Lease
from storage.progress import Progress
from storage.store import Store
from storage.transports.places import DIR, DOCKER_ARCHIVE, OCI, OCI_ARCHIVE, PODMAN, Place, parse_place

_FAMILIES = {None: None, "oci": OCI_MANIFEST, "v2s2": DOCKER_MANIFEST}
_DIRECTORY_VERSION = b"Directory Transport Version: "
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Written:
    """The manifest that was written: its digest ("sha256:...") and media type."""

    digest: str
    media_type: str


def write_image(
    store: Store, reference: str, destination: str, format: str | None = None, progress: Progress | None = None
) -> Written:
    """Write the image `reference` to `destination`, a name with a transport, as Podman's `push` does.

    docker-archive: a new file. oci-archive: a new file, or in the place of one. oci: a layout, which may exist and have
    other images; an image of the same name loses it. dir: a directory, which may hold another image, whose place it
    takes. `format`: the kind of manifest, "oci" or "v2s2"; None leaves what the image has. Kept blobs are written as
    they came, other layers as plain tars. Raises UsageError, NotFoundError, ConflictError, StorageError; what is there
    is not harmed by a failure.
    """
    place = writable_place(destination)
    if place.transport in (OCI, OCI_ARCHIVE) and format == "v2s2":
        raise UsageError(f"writing {place}: an OCI layout holds manifests of OCI's format", "leave --format away")
    progress = progress or Progress()
    with Lease(store) as lease:
        (chosen,) = choose(store, lease, [reference])
        try:
            if place.transport == DOCKER_ARCHIVE:
                return _to_docker_archive(store, chosen, place, progress)
            family = OCI_MANIFEST if place.transport != DIR else _FAMILIES[format]
            planned = plan(chosen, family)
            if place.transport == OCI_ARCHIVE:
                _to_oci_archive(store, planned, place, progress)
            elif place.transport == OCI:
                _to_layout(store, planned, place, progress)
            else:
                _to_directory(store, planned, place, progress)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(f"writing {place}: {error.strerror}") from None
    return Written(f"sha256:{planned.digest}", planned.manifest_type)


def writable_place(destination: str) -> Place:
    """The place that `destination` names. Raises UsageError for what cannot be written to."""
    place = parse_place(destination)
    if place.transport == PODMAN:
        raise UsageError(
            f"writing {place}: Podman's store is only read here", "rootless save NAME | podman load brings it there"
        )
    if place.index is not None:
        raise UsageError(f"writing {place}: a number (@{place.index}) cannot be chosen", "give it a name")
    return place


def _to_docker_archive(store: Store, chosen: Chosen, place: Place, progress: Progress) -> Written:
    if os.path.exists(place.path) and os.stat(place.path).st_size:
        raise ConflictError(f"writing {place}: {place.path} exists, and docker-archives cannot be added to")
    names = [place.name] if place.name else []
    chosen.names[:] = [*names, *(name for name in chosen.names if name not in names)]
    with new_file(place.path) as descriptor, ArchiveWriter(descriptor, progress) as writer:
        write_docker(store, writer, [chosen])
    planned = plan(chosen, DOCKER_MANIFEST, packed=False)
    return Written(f"sha256:{planned.digest}", planned.manifest_type)


def _to_oci_archive(store: Store, planned: Plan, place: Place, progress: Progress) -> None:
    with new_file(place.path) as descriptor, ArchiveWriter(descriptor, progress) as writer:
        write_layout(store, writer, [(planned, [place.name] if place.name else [])])


@contextmanager
def new_file(path: str) -> Iterator[int]:
    """A file that appears at `path`, in the place of what is there, when all has been written; devices and pipes are
    written to."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    draft = f"{target}.{os.urandom(4).hex()}.partial"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
        os.rename(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
    finally:
        os.close(descriptor)


@contextmanager
def locked_directory(path: str) -> Iterator[str]:
    """The directory at `path`, made where it is missing, which nobody else of us writes meanwhile."""
    os.makedirs(path, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(descriptor)


def _to_layout(store: Store, planned: Plan, place: Place, progress: Progress) -> None:
    with locked_directory(place.path) as root:
        others = other_entries(root, planned.digest, place)
        with DirectoryWriter(root, progress) as writer:
            write_layout(store, writer, [(planned, [place.name] if place.name else [])], others)


def other_entries(root: str, digest: str, place: Place) -> list[dict[str, Any]]:
    """The entries of index.json that stay beside the new one."""
    try:
        with _open_plain(f"{root}/index.json") as file:
            data = file.read(LIMIT + 1)
    except FileNotFoundError:
        strange = [
            name for name in os.listdir(root) if name not in ("blobs", "oci-layout") and not name.startswith(".")
        ]
        if strange:
            raise ConflictError(
                f"writing {place}: {place.path} is no OCI layout: it has {strange[0]!r}", "name a new directory"
            ) from None
        return []
    try:
        entries = loads(data)["manifests"]
        labels = [(entry.get("annotations") or {}).get(REF_NAME) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ImageError(f"writing {place}: {place.path}/index.json is damaged", "name a new directory") from None
    return [
        entry
        for entry, label in zip(entries, labels, strict=True)
        if label != place.name or (label is None and entry.get("digest") != f"sha256:{digest}")
    ]


def _to_directory(store: Store, planned: Plan, place: Place, progress: Progress) -> None:
    with locked_directory(place.path) as root:
        there = set(os.listdir(root))
        if there and not _is_image_directory(root):
            raise ConflictError(
                f"writing {place}: {place.path} holds other things than an image",
                "name a new directory, or an empty one",
            )
        with DirectoryWriter(root, progress) as writer:
            write_directory(store, writer, planned)
        wanted = {planned.chosen.image.id, *(part.digest for part in planned.parts)}
        for name in there - wanted:
            if _belongs_to_an_image(name):
                os.unlink(f"{root}/{name}")


def _is_image_directory(root: str) -> bool:
    try:
        with _open_plain(f"{root}/version") as file:
            return file.read(64).startswith(_DIRECTORY_VERSION)
    except OSError:
        return False


def _open_plain(path: str) -> IO[bytes]:
    """A file to read; a fifo or device in its place holds nobody up, and has nothing in it."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, f"{path} is no file")
    return file


def _belongs_to_an_image(name: str) -> bool:
    """Whether skopeo's "dir" layout has such a file beside manifest.json: a blob, a signature, a manifest of a list."""
    digest = name.removesuffix(".manifest.json")
    return (len(digest) == 64 and _HEX.issuperset(digest)) or name.startswith("signature-")
