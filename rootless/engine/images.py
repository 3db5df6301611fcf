"""Images that have to be looked for, or fetched, before a container can be made of them."""

from __future__ import annotations

from contextlib import nullcontext

from rootless.engine.request import CreateRequest
from rootless.errors import NotFoundError
from storage.documents.platform_choice import parse_platform
from storage.images.rows import bring_back
from storage.lookup import Image, find_image
from storage.references import transport_of
from storage.remote.pull import MISSING, NEVER, is_for, pull
from storage.store import Store


def fetch(store: Store, request: CreateRequest, policy: str) -> Image:
    """The image of the request, for the platform that it names, pulled by `policy` (always, missing, newer); with
    "never" only what is here. What lies in an archive or a directory is read in any case.

    Raises NotFoundError, RegistryError, UsageError.
    """
    reference = request.image
    platform = parse_platform(request.platform, request.os, request.arch, request.variant)
    elsewhere = transport_of(reference) not in ("", "docker")
    if policy in (MISSING, NEVER) and not elsewhere and find_image(store.db, reference) is None:
        bring_back(store, reference)
    if policy == NEVER and not elsewhere:
        here = find_image(store.db, reference)
        if here is None:
            raise NotFoundError(f"{reference}: no such image here, and --pull=never", f"rootless pull {reference}")
        if platform is not None and not is_for(here, platform):
            hint = f"rootless pull --platform {platform} {reference}"
            raise NotFoundError(f"{reference}: what is here is not for {platform}, and --pull=never", hint)
        return here
    with request.display() if request.display is not None else nullcontext() as progress:
        image_id = pull(
            store,
            reference,
            platform,
            policy,
            progress,
            request.tls_verify,
            request.authfile,
            patience=request.patience,
        )
    found = find_image(store.db, image_id)
    if found is None:
        raise NotFoundError(f"{reference}: the image was removed while it was pulled")
    return found
