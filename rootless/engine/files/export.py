"""`export`: the root file system of a container as a tar."""

from __future__ import annotations

from rootless.engine.events import container_event
from rootless.engine.files.views import container_view
from rootless.engine.recover import find
from rootless.errors import StorageError
from storage.changes.work import write_tree
from storage.lease import Lease
from storage.store import Store


def export(store: Store, reference: str, out: int) -> None:
    """Write all files of the container to the open descriptor `out`; what is mounted in it are empty directories.

    Raises NotFoundError, StorageError, BrokenPipeError where nobody reads any more.
    """
    container = find(store, reference)
    with Lease(store) as lease:
        view = container_view(store, container, lease)
        store.user_namespace().run(write_tree, view.tree, out, keep_fds=[out])
        need_still(store, container.id, container.name, "exporting")
    container_event(store, container, "export")


def need_still(store: Store, container_id: str, name: str, doing: str) -> None:
    """Raise StorageError where the container is being removed by now: files may have been missing already."""
    from rootless.engine import records

    current = records.get(store.db, container_id)
    if current is None or current.state == records.REMOVING:
        raise StorageError(f"{doing} {name}: it was removed meanwhile")
