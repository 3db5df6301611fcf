"""All tags of a repository, for `pull --all-tags` and `search --list-tags`."""

from __future__ import annotations

import threading

from rootless.errors import NotFoundError, RegistryError, UsageError
from storage.references import Reference, split_transport
from storage.registry.access import Access
from storage.registry.listing import Listing
from storage.registry.patience import Pauses
from storage.settings.registries_conf import load, with_tls_verify


def tags_of(text: str, access: Access) -> tuple[Reference, list[str]]:
    """The repository that `text` names, in the first place that has it, and its tags in the registry's order.

    Raises UsageError where `text` has a tag or a digest, NotFoundError, RegistryError.
    """
    transport, rest = split_transport(text)
    if transport not in ("", "docker"):
        raise UsageError(f"listing the tags of {text}: that is not in a registry")
    conf = load()
    fault: NotFoundError | RegistryError | None = None
    for reference in conf.candidates(rest):
        if reference.tag or reference.digest:
            raise UsageError(f"listing the tags of {text}: it names one already", f"write {reference.name}")
        for endpoint in with_tls_verify(conf.endpoints(reference), access.tls_verify, access.certificates):
            credentials = access.credentials_for(conf, endpoint)
            pauses = Pauses(access.patience, threading.Event())
            listing = Listing(endpoint, credentials, f"listing the tags of {reference}", pauses)
            try:
                return reference, listing.tags()
            except (NotFoundError, RegistryError) as error:
                fault = fault or error
            finally:
                listing.close()
    assert fault is not None
    raise fault
