"""Logging in: which registry is meant, and whether it takes the credentials."""

from __future__ import annotations

import threading

from rootless.errors import RegistryError, UsageError
from storage.references import DEFAULT_DOMAIN, parse
from storage.registry.access import Access
from storage.registry.http import discard
from storage.registry.patience import Pauses
from storage.registry.session import Session
from storage.settings.auth import Credentials
from storage.settings.registries_conf import RegistriesConf

_HUB = ("index.docker.io", "registry-1.docker.io")


def registry_name(text: str | None, conf: RegistriesConf) -> str:
    """The registry ("quay.io"), or a namespace of one ("quay.io/team"), that the user means by `text`.

    Without one it is the first that registries.conf searches, or Docker Hub. Raises UsageError.
    """
    if text is None:
        return conf.search[0] if conf.search else DEFAULT_DOMAIN
    name = text
    for scheme in ("docker://", "https://", "http://"):
        name = name.removeprefix(scheme)
    host, _, path = name.partition("/")
    path = path.strip("/")
    if host in _HUB or (host == DEFAULT_DOMAIN and path in ("v1", "v2")):
        return DEFAULT_DOMAIN
    if path in ("v1", "v2"):
        path = ""
    try:
        parsed = parse(f"{host if ':' in host else host + ':443'}/{path or 'name'}")
    except UsageError as error:
        raise UsageError(f"logging in to {text}: {error.message}", error.hint) from None
    if parsed.tag or parsed.digest or not host:
        raise UsageError(f"logging in to {text}: that is not a registry", "for example: rootless login quay.io")
    return f"{host}/{path}" if path else host


def check_credentials(name: str, credentials: Credentials, conf: RegistriesConf, access: Access) -> None:
    """Raises RegistryError unless the registry of `name` lets `credentials` in."""
    host = name.partition("/")[0]
    what = f"logging in to {host}"
    pauses = Pauses(access.patience, threading.Event())
    session = Session(access.registry(conf, host), credentials, pauses)
    try:

        def ask() -> None:
            response = session.get("", {}, what)
            if response.status in (401, 403):
                said = session.said(response, what)
                raise RegistryError(f"{what}: invalid username/password{said}")
            session.expect(response, (200,), what)
            discard(response)

        pauses.patiently(ask)
    finally:
        session.close()
