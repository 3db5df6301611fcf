"""Where everything lies inside a store.

<root>/blobs/sha256/<hex>          manifests, configs and compressed layers, as they came
<root>/layers/<diffID>/diff        an extracted layer, stacked by the drivers
<root>/layers/<diffID>/record      how to rebuild its tar
<root>/layers/<diffID>.single/     the same layer, where it has other owners than root, for users with one id
<root>/bases/<chainID>/rootfs      all layers of an image, one over another, for drivers that need them so
<root>/containers/<id>/            config.json, log, and what the driver keeps: upper, work, rootfs
<root>/volumes/<name>/_data
<root>/events/                     log, log.1: what has happened (storage.events)
<root>/db.sqlite
<root>/reserve                     room for the database on a full disk
<root>/driver.json                 which drivers work here
<root>/tmp/                        written here first, then renamed into place
"""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.paths import make_private


class Layout:
    """Paths of the store at `root` (absolute). Computing a path touches no file; `create` makes the directories."""

    __slots__ = ("bases", "blobs", "containers", "database", "driver_file", "layers", "root", "tmp", "volumes")

    def __init__(self, root: str) -> None:
        self.root = root
        self.blobs = root + "/blobs/sha256"
        self.layers = root + "/layers"
        self.bases = root + "/bases"
        self.containers = root + "/containers"
        self.volumes = root + "/volumes"
        self.database = root + "/db.sqlite"
        self.driver_file = root + "/driver.json"
        self.tmp = root + "/tmp"

    def create(self) -> None:
        """Make what is missing of the directories, all of them private. Raises StorageError."""
        if os.path.isdir(self.tmp):
            return
        make_private(self.root)
        drop_default_acl(self.root)
        try:
            for path in (self.blobs, self.layers, self.containers, self.volumes, self.tmp):
                os.makedirs(path, 0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"making {error.filename}: {error.strerror}") from None

    def blob(self, digest: str) -> str:
        """File of the blob whose SHA-256 is `digest` (hex)."""
        return f"{self.blobs}/{digest}"

    def layer(self, diff_id: str) -> str:
        """Directory of the layer `diff_id` (hex, or a name from storage.layers.names)."""
        return f"{self.layers}/{diff_id}"

    def diff(self, diff_id: str) -> str:
        """The extracted files of the layer `diff_id` (hex, or a name from storage.layers.names)."""
        return f"{self.layers}/{diff_id}/diff"

    def container(self, container_id: str) -> str:
        """Directory of the container `container_id`."""
        return f"{self.containers}/{container_id}"

    def volume(self, name: str) -> str:
        """Directory of the volume `name`; its files are in `_data` below."""
        return f"{self.volumes}/{name}"


def drop_default_acl(path: str) -> None:
    """A default ACL that the store's parent hands down would change the modes of every file in every image."""
    for name in ("system.posix_acl_default", "system.posix_acl_access"):
        try:
            os.removexattr(path, name)
        except OSError:
            pass  # none there, or a file system without ACLs
