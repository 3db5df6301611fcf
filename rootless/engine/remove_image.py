"""`--rmi`: a container that goes together with its image."""

from __future__ import annotations

from rootless.engine import records
from rootless.errors import RootlessError
from rootless.faults import step
from rootless.jsontext import loads
from storage.database import transaction
from storage.images.rows import forget, tell_removed
from storage.upkeep.garbage import collect_garbage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from storage.store import Store


def delete_with_image(store: Store, container: Container) -> str | None:
    """For `--rmi`: forget a container together with its image, unless another container has that; why the image is
    still there, or None."""
    with transaction(store.db) as db:
        records.forget(db, container.id)
        try:
            removed = forget(db, loads(container.request).get("image") or container.image_id)
        except RootlessError as error:
            return str(error)
    step("image-of-container-forgotten")
    tell_removed(store, removed)
    collect_garbage(store)
    return None
