"""`--rootfs DIR`: a container whose root file system is a directory of the user's, not a copy of an image.

For the store it is one of the driver vfs without layers, whose rootfs is a symbolic link to that directory: what it
writes is written there, and removing the container removes the link. Loaded where the option is used.
"""

from __future__ import annotations

import os

from rootless.errors import NotFoundError, UsageError
from storage.drivers.vfs import mark_complete
from storage.lookup import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.request import CreateRequest


def stand_in(request: CreateRequest) -> Image:
    """The image that is none, for a directory; its path in the request becomes absolute. Raises UsageError,
    NotFoundError."""
    path = request.image
    if path.endswith((":O", ":idmap")):
        raise UsageError(
            f"--rootfs {path}: overlays and mapped ids are not supported for it",
            "copy the directory, or import it as an image: tar -C DIR -c . | rootless import - NAME",
        )
    if request.rmi:
        raise UsageError("--rootfs and --rmi contradict each other", "leave one of them out")
    request.image = path = os.path.realpath(path)
    if not os.path.isdir(path):
        raise NotFoundError(f"--rootfs {path}: there is no such directory")
    if path == "/":
        raise UsageError("--rootfs /: the host's own root cannot be a container's", "name a directory below it")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"--rootfs {path}: you may not write there", "the mount points of a container are made in it")
    return Image("", {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}}, [], "", 0, "")


def link(directory: str, path: str) -> None:
    """Make what `storage.drivers.prepare` makes for other containers, in the container's `directory`."""
    os.symlink(path, directory + "/rootfs")
    mark_complete(directory)
