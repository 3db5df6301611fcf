"""Removing the images that nobody needs."""

from __future__ import annotations

from collections.abc import Iterable

from storage.database import transaction
from storage.events import emit
from storage.images.filters import image_filter, split_filters
from storage.images.listing import list_images
from storage.images.rows import forget_image
from storage.manifests.lists import forget_list
from storage.store import Store


def prune_images(store: Store, filters: Iterable[str] = (), all_unused: bool = False) -> list[str]:
    """Forget the images and manifest lists that no container uses and that have no name and were not pulled by digest
    (`all_unused`: those too), of those that pass `filters`; their ids. Files go with `collect_garbage`."""
    pairs = split_filters(filters)
    pruned = []
    with transaction(store.db) as db:
        passes = image_filter(db, pairs)
        for image in list_images(db, with_config=True):
            if not image.containers and (all_unused or image.dangling) and passes(image):
                forget_image(db, image.id)
                forget_list(db, image.id)  # where it is one
                pruned.append(image)
    for image in pruned:
        for name in image.names:
            emit(store, "image", "untag", image.id, name)
        for action in ("remove", "prune"):
            emit(store, "image", action, image.id, image.names[0] if image.names else "")
    return [image.id for image in pruned]
