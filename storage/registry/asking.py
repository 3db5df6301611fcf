"""Asking the registries that a name may mean, place after place, until one answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from rootless.errors import ImageError, NotFoundError, RegistryError, RootlessError
from storage.references import Reference
from storage.registry.access import Access
from storage.registry.client import Client
from storage.registry.patience import Pauses
from storage.settings.registries_conf import load, with_tls_verify

T = TypeVar("T")


def ask(text: str, what: str, access: Access, question: Callable[[Client, Reference], T]) -> T:
    """What `question` gives for the first place that has what `text` names. `what` is being done, for messages.

    Raises NotFoundError, RegistryError, ImageError.
    """
    conf = load()
    faults: list[RootlessError] = []
    for reference in conf.candidates(text):
        for endpoint in with_tls_verify(conf.endpoints(reference), access.tls_verify, access.certificates):
            pauses = Pauses(access.patience, threading.Event())
            client = Client(endpoint, access.credentials_for(conf, endpoint), f"{what} {reference}", pauses)
            try:
                return question(client, reference)
            except (RegistryError, NotFoundError, ImageError) as fault:
                faults.append(fault)
            finally:
                client.close()
    if len(faults) == 1:
        raise faults[0]
    kind = NotFoundError if all(isinstance(fault, NotFoundError) for fault in faults) else RegistryError
    raise kind(f"{what} {text}: none of {len(faults)} places has it:" + "".join(f"\n  {f.message}" for f in faults))
