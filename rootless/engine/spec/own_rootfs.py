"""`--rootfs DIR`: a container whose root file system is a directory of the user's, not a copy of an image.

For the store it is one of the driver vfs without layers, whose rootfs is a symbolic link to that directory: what it
writes is written there, and removing the container removes the link. With `DIR:O` it is an overlay without layers,
which stands on that directory by such a link and leaves it as it is. Loaded where the option is used.
"""

from __future__ import annotations

import os

from rootless.errors import NotFoundError, UsageError
from storage.drivers import VFS, WHOLE
from storage.drivers.overlay import LOWER
from storage.drivers.vfs import mark_complete
from storage.lookup import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.request import CreateRequest

OVER = ":O"


def stand_in(request: CreateRequest) -> Image:
    """The image that is none, for a directory; its path in the request becomes absolute. Raises UsageError,
    NotFoundError."""
    path = request.image
    if path.endswith(":idmap"):
        raise UsageError(
            f"--rootfs {path}: users cannot map the ids of a mount",
            "copy the directory, or import it as an image: tar -C DIR -c . | rootless import - NAME",
        )
    suffix = OVER if path.endswith(OVER) else ""
    if request.rmi:
        raise UsageError("--rootfs and --rmi contradict each other", "leave one of them out")
    path = os.path.realpath(path.removesuffix(OVER))
    request.image = path + suffix
    if not os.path.isdir(path):
        raise NotFoundError(f"--rootfs {path}: there is no such directory")
    if path == "/":
        raise UsageError("--rootfs /: the host's own root cannot be a container's", "name a directory below it")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"--rootfs {path}: you may not read it", f"ls -ld {path}")
    if not suffix and not os.access(path, os.W_OK):
        hint = f"the mount points of a container are made in it; to leave it as it is: --rootfs {path}{OVER}"
        raise UsageError(f"--rootfs {path}: you may not write there", hint)
    return Image("", {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}}, [], "", 0, "")


def driver_for(image: str, best: str) -> str:
    """The driver of a container of the directory `image`; `best` is the store's. Raises UsageError."""
    if not image.endswith(OVER):
        return VFS
    if best in WHOLE:
        raise UsageError(
            f"--rootfs {image}: the storage driver {best} stacks nothing",
            "rootless --storage-driver overlay (or fuse-overlayfs) run ...; `rootless doctor` tells what works here",
        )
    return best


def link(directory: str, image: str, prepare: Callable[[], None]) -> None:
    """Make in the container's `directory` what takes the place of layers; `prepare` makes what goes with them."""
    path = image.removesuffix(OVER)
    if path == image:
        os.symlink(path, directory + "/rootfs")
        mark_complete(directory)
        return
    prepare()
    os.chmod(directory + "/upper", os.stat(path).st_mode & 0o7777)
    os.symlink(path, f"{directory}/{LOWER}")
