"""Asking the registries that a name may mean, place after place, until one answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rootless.errors import ImageError, NotFoundError, RegistryError, RootlessError
from storage.auth import Credentials, find_credentials, from_option
from storage.references import Reference
from storage.registries_conf import Endpoint, load, with_tls_verify
from storage.registry.client import Client
from storage.registry.patience import Patience, Pauses

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """How registries are asked: --tls-verify (None: as configured), --authfile, --creds."""

    tls_verify: bool | None = None
    authfile: str | None = None
    credentials: Credentials | None = None
    patience: Patience = field(default_factory=Patience)


def access_of(tls_verify: bool | None, authfile: str | None = None, creds: str | None = None) -> Access:
    """The same out of the options; `creds` is "user:password". Raises UsageError."""
    return Access(tls_verify, authfile, from_option(creds) if creds else None)


def ask(text: str, what: str, access: Access, question: Callable[[Client, Reference], T]) -> T:
    """What `question` gives for the first place that has what `text` names. `what` is being done, for messages.

    Raises NotFoundError, RegistryError, ImageError.
    """
    conf = load()
    faults: list[RootlessError] = []
    for reference in conf.candidates(text):
        where = f"{what} {reference}"
        for endpoint in with_tls_verify(conf.endpoints(reference), access.tls_verify):
            client = connect(endpoint, access, where, conf.helpers)
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


def connect(endpoint: Endpoint, access: Access, where: str, helpers: list[str] | None) -> Client:
    """A client for one place, with the credentials that there are for it. The caller closes it."""
    credentials = access.credentials or find_credentials(
        f"{endpoint.host}/{endpoint.repository}", access.authfile, helpers
    )
    return Client(endpoint, credentials, where, Pauses(access.patience, threading.Event()))
