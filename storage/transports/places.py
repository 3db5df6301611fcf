"""Reading names with a transport: which file or directory, and which image in it."""

from __future__ import annotations

from dataclasses import dataclass

from rootless.errors import UsageError
from storage.references import parse

DOCKER_ARCHIVE = "docker-archive"
OCI_ARCHIVE = "oci-archive"
OCI = "oci"
DIR = "dir"
PODMAN = "containers-storage"


@dataclass(frozen=True, slots=True)
class Place:
    """An image outside registries. `path` is the file or directory ("" for containers-storage, whose `name` has all).

    `name`: what stands behind the path; in a docker-archive made whole ("docker.io/library/alpine:latest"). `index`:
    the number behind "@", from 0. Both None: the only image that is there.
    """

    text: str
    transport: str
    path: str
    name: str | None = None
    index: int | None = None

    def __str__(self) -> str:
        return self.text


def parse_place(text: str) -> Place:
    """The place that `text` names. Raises UsageError, with the way to go, for transports that cannot be served."""
    transport, _, rest = text.partition(":")
    if transport == PODMAN:
        if not rest:
            raise UsageError(f"{text}: it names no image", "`podman images` lists what there is")
        return Place(text, PODMAN, "", rest)
    if transport == "docker-daemon":
        raise UsageError(f"{text}: no daemon is asked here", f"docker save {rest or 'NAME'} | rootless load")
    if transport not in (DOCKER_ARCHIVE, OCI_ARCHIVE, OCI, DIR):
        raise UsageError(
            f"{text}: {transport or 'this'} is not a transport that is known here",
            f"there are docker, {DOCKER_ARCHIVE}, {OCI_ARCHIVE}, {OCI}, {DIR} and {PODMAN}",
        )
    path, _, name = (rest, "", "") if transport == DIR else rest.partition(":")
    if not path:
        raise UsageError(f"{text}: it names no {'directory' if transport in (DIR, OCI) else 'file'}")
    if name.startswith("@"):
        if not (name[1:].isascii() and name[1:].isdigit()):
            raise UsageError(f"{text}: {name!r} is not the number of an image", "@0 is the first one")
        return Place(text, transport, path, None, int(name[1:]))
    if name and transport == DOCKER_ARCHIVE:
        reference = parse(name)
        if reference.digest:
            raise UsageError(f"{text}: images in a docker-archive have tags, not digests")
        name = reference.tagged
    return Place(text, transport, path, name or None)
