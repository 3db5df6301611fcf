"""Images that have to be fetched before a container can be made of them."""

from __future__ import annotations

from rootless.errors import NotFoundError
from storage.lookup import Image, find_image
from storage.store import Store


def fetch(store: Store, reference: str, policy: str, platform: str | None, quiet: bool) -> Image:
    """Pull `reference` by `policy` (always, missing, newer) and return it; with "never" only what is here.

    Raises NotFoundError, RegistryError.
    """
    if policy == "never":
        raise NotFoundError(f"{reference}: no such image here, and --pull=never", f"rootless pull {reference}")
    from storage.pull import pull

    image_id = pull(store, reference, platform=platform, policy=policy)
    found = find_image(store.db, image_id)
    if found is None:
        raise NotFoundError(f"{reference}: the image was removed while it was pulled")
    return found
