"""A damaged layer is extracted again and changes places with what is there, in one step, while nobody stands on it.

It comes out of its kept blob, or out of its own tar where only what its files look like is wrong. Whether that is the
layer, its diffID tells before anything is replaced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import groupby

from rootless.errors import ConflictError, RootlessError
from rootless.faults import step
from rootless.jsontext import loads
from rootless.kernel.files import exchange, sync_path
from rootless.kernel.libc import SyscallError
from storage.blobs import open_blob
from storage.database import transaction
from storage.drivers.bases import unused as unused_bases
from storage.images.rows import AddedLayer, record_layers
from storage.layers.names import SINGLE, copies
from storage.layers.store import LayerInfo, suffix_of
from storage.lease import Lease
from storage.sqlite import Connection
from storage.store import Store
from storage.upkeep.check.images import wanted_layers
from storage.upkeep.check.lists import chains_of_lists
from storage.upkeep.garbage import image_chains

_BUSY = """SELECT DISTINCT name FROM containers JOIN container_layers ON container_id = id
 WHERE diff_id = ? AND (monitor_pid != 0 OR state IN ('running', 'paused', 'stopping', 'initialized')) ORDER BY name"""

_Put = Callable[[str, str], None]


def extract_again(store: Store, name: str, own_tar_first: bool) -> None:
    """Replace the copy `name` (below layers/) of a layer. Raises ConflictError while containers run on it, StorageError
    where nothing is left that it could be made of."""
    diff_id = name.partition(".")[0]
    refuse_if_busy(store.db, diff_id)
    other = next(other for other in copies(diff_id) if other != name)
    if name.endswith(SINGLE) is not store.user_map.single and os.path.isdir(store.layout.diff(other)):
        _take_away(store, store.layout.layer(name), diff_id)  # whoever needs it makes it out of the other one
        return
    row = store.db.execute("SELECT blob FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
    blob = row[0] if row else None
    with Lease(store) as lease:
        lease.protect([diff_id, *([blob] if blob else [])])
        _extract(store, diff_id, blob, own_tar_first, lambda place, _: _swap(store, place, diff_id))
    _drop_bases(store, diff_id)


def record_again(store: Store, diff_id: str) -> None:
    """Find out what the lost row of a layer said, by extracting it anew. Raises StorageError where that fails."""
    with Lease(store) as lease:
        blob, media_type = _blob_of(store, diff_id)
        lease.protect([diff_id, *([blob] if blob else [])])
        info = _extract(store, diff_id, blob, True, None)
        size = os.stat(store.layout.blob(blob)).st_size if blob else None
        record_layers(store, [AddedLayer(diff_id, info.size, info.tar_size, blob, size, media_type)])


def refuse_if_busy(connection: Connection, diff_id: str) -> None:
    """Raise ConflictError while a container runs, starts or is removed that stands on the layer."""
    busy = [name for (name,) in connection.execute(_BUSY, (diff_id,))]
    if busy:
        what = f"extracting the layer {diff_id[:12]} again: in use by {', '.join(busy)}"
        raise ConflictError(what, f"rootless stop {' '.join(busy)}")


def _extract(store: Store, diff_id: str, blob: str | None, own_tar_first: bool, put: _Put | None) -> LayerInfo:
    """Extract the layer from the first source that gives it. Raises what the last one has failed with."""
    sources: list[Callable[[], LayerInfo]] = [lambda: _from_tar(store, diff_id, put)]
    if blob is not None and os.path.exists(store.layout.blob(blob)):
        sources.insert(1 if own_tar_first else 0, lambda: _from_blob(store, diff_id, blob, put))
    while True:
        try:
            return sources.pop(0)()
        except ConflictError:
            raise
        except (RootlessError, OSError):
            if not sources:
                raise


def _from_tar(store: Store, diff_id: str, put: _Put | None) -> LayerInfo:
    extraction = store.layers.begin(diff_id)
    try:
        store.layers.rebuild(diff_id, extraction.stdin_fd)
    except BaseException:
        extraction.abort()
        raise
    return extraction.finish(put=put)


def _from_blob(store: Store, diff_id: str, blob: str, put: _Put | None) -> LayerInfo:
    descriptor = open_blob(store.layout, blob)
    try:
        size = os.fstat(descriptor).st_size
        return store.layers.begin_from_file(descriptor, 0, size, diff_id).finish(put=put)
    finally:
        os.close(descriptor)


def _swap(store: Store, place: str, diff_id: str) -> None:
    """Bring the layer that was extracted in `place` to where the damaged one is, and that to `place`.

    A container that starts has told so in its row before it looks for its layers: within the transaction either it is
    seen, or it finds the new ones.
    """
    target = store.layout.layer(diff_id + suffix_of(place))
    step("layer-extracted-again")
    below = next((chain[: chain.index(diff_id)] for chain in _all_chains(store.db) if diff_id in chain), [])
    store.layers.settle_draft(place, below)
    step("layer-settled-again")
    with transaction(store.db) as db:
        refuse_if_busy(db, diff_id)
        if os.path.lexists(target):
            _exchange(store, place, target)
        else:
            os.rename(place, target)
        sync_path(store.layout.layers)
    step("layer-exchanged")


def _all_chains(db: Connection) -> Iterator[list[str]]:
    """The layers (lowest first) of all images, also of those that only containers or manifest lists still have."""
    yield from image_chains(db)
    query = "SELECT container_id, diff_id FROM container_layers WHERE position >= 0 ORDER BY container_id, position"
    for _, rows in groupby(db.execute(query).fetchall(), key=lambda row: row[0]):
        yield [diff_id for _, diff_id in rows]
    yield from chains_of_lists(db)


def _exchange(store: Store, place: str, target: str) -> None:
    try:
        exchange(place, target)
    except SyscallError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        os.rename(target, f"{store.layout.tmp}/gone-{os.urandom(8).hex()}")
        os.rename(place, target)


def _take_away(store: Store, path: str, diff_id: str) -> None:
    place = f"{store.layout.tmp}/gone-{os.urandom(8).hex()}"
    with transaction(store.db) as db:
        refuse_if_busy(db, diff_id)
        os.rename(path, place)
    store.layers.delete_unlocked(place)


def _drop_bases(store: Store, diff_id: str) -> None:
    """Take away what was made out of the damaged layer; who needs it makes it again."""
    without = [chain for chain in image_chains(store.db) if diff_id not in chain]
    for name in unused_bases(store.layout, without):
        place = f"{store.layout.tmp}/gone-{os.urandom(8).hex()}"
        try:
            os.rename(f"{store.layout.bases}/{name}", place)
        except FileNotFoundError:
            continue
        store.layers.delete_unlocked(place)


def _blob_of(store: Store, diff_id: str) -> tuple[str | None, str | None]:
    """The blob that the manifest of an image, or of a manifest list's, has for the layer, where it is still here, and
    its media type."""
    query = """SELECT config, manifest FROM images JOIN image_layers ON image_id = id WHERE diff_id = ?1
     UNION ALL SELECT config, manifest FROM manifest_list_members JOIN manifest_list_layers USING (list_id, digest)
     WHERE diff_id = ?1"""
    for config, manifest in store.db.execute(query, (diff_id,)).fetchall():
        try:
            listed = loads(bytes(manifest))["layers"][wanted_layers(config).index(diff_id)]
            digest = str(listed["digest"]).partition(":")[2]
            if digest != diff_id and os.path.exists(store.layout.blob(digest)):
                return digest, str(listed["mediaType"])
        except (RootlessError, ValueError, LookupError, TypeError):
            continue
    return None, None
