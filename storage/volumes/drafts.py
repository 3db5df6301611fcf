"""The directory of a volume that does not begin empty and root's: made in tmp/, renamed into place when it is whole."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rootless.errors import NotFoundError, StorageError
from rootless.kernel.files import sync_file_system
from storage.drafts import locked_directory
from storage.drivers.chain import copy_chain
from storage.layers.names import layer_names
from storage.lease import Lease
from storage.lookup import find_image
from storage.store import Store
from storage.volumes.marks import USED
from storage.volumes.options import IMAGE, VolumeSettings


def draft_volume(store: Store, driver: str, options: Mapping[str, str]) -> tuple[str, int]:
    """A directory in tmp/ and the descriptor that locks it. Raises NotFoundError for an image, StorageError."""
    store.layers.sweep()
    place, lock = locked_directory(store.layout, "layer-")
    try:
        if driver == IMAGE:
            _copy_image(store, options["image"], f"{place}/_data")
            os.close(os.open(f"{place}/{USED}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            sync_file_system(lock)
        else:
            _make_owned(store, VolumeSettings(options), f"{place}/_data")
    except BaseException:
        store.layers.delete(place)
        os.close(lock)
        raise
    return place, lock


def _copy_image(store: Store, name: str, target: str) -> None:
    with Lease(store) as lease:
        image = find_image(store.db, name)
        if image is None:
            raise NotFoundError(f"making a volume of the image {name}: there is no such image", f"rootless pull {name}")
        lease.protect(image.diff_ids)
        diffs = [store.layout.diff(layer) for layer in layer_names(store, image.diff_ids)]
        store.user_namespace().run(copy_chain, diffs, target)


def _make_owned(store: Store, settings: VolumeSettings, target: str) -> None:
    try:
        os.mkdir(target)
        os.chmod(target, 0o755)  # whatever the umask
        if settings.kind == "" and (settings.uid or settings.gid):
            store.user_namespace().run(os.chown, target, settings.uid or 0, settings.gid or 0)
    except OSError as error:
        ids = f"{settings.uid or 0}:{settings.gid or 0}"
        raise StorageError(
            f"giving the volume to {ids}: {error.strerror}", "`rootless info` shows which ids are mapped"
        ) from None
