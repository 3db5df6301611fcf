"""Images that have to be fetched before a container can be made of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rootless.errors import NotFoundError
from storage.lookup import Image, find_image
from storage.progress import Progress
from storage.store import Store

Display = Callable[[], AbstractContextManager[Progress | None]]


def fetch(store: Store, reference: str, policy: str, platform: str | None, display: Display | None) -> Image:
    """Pull `reference` by `policy` (always, missing, newer) and return it; with "never" only what is here.

    `display` makes what shows the progress.

    Raises NotFoundError, RegistryError.
    """
    if policy == "never":
        raise NotFoundError(f"{reference}: no such image here, and --pull=never", f"rootless pull {reference}")
    from storage.pull import pull

    with display() if display is not None else nullcontext() as progress:
        image_id = pull(store, reference, platform, policy, progress)
    found = find_image(store.db, image_id)
    if found is None:
        raise NotFoundError(f"{reference}: the image was removed while it was pulled")
    return found
