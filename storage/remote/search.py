"""Searching registries for images: their own search (Docker Hub's protocol), else the names of their repositories."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from rootless.errors import NotFoundError, RegistryError, UsageError
from storage.references import DEFAULT_DOMAIN, names_registry, split_transport
from storage.registry.access import Access
from storage.registry.listing import Found, Listing
from storage.registry.patience import Pauses
from storage.settings.registries_conf import RegistriesConf, load

_HUB_SEARCH = "index.docker.io"  # where Docker Hub is searched


@dataclass(frozen=True, slots=True)
class Result:
    """An image that was found. `index`: the registry; `name`: with the registry in front."""

    index: str
    name: str
    found: Found


def search(text: str, access: Access, most: int) -> tuple[list[Result], list[RegistryError | NotFoundError]]:
    """Up to `most` results of each registry that `text` ("nginx", "quay.io/nginx") may mean, and the registries that
    could not be asked, where others could. Raises UsageError, RegistryError where none could be asked."""
    transport, rest = split_transport(text)
    if transport not in ("", "docker"):
        raise UsageError(f"searching for {text}: {transport} cannot be searched", "name a registry: quay.io/NAME")
    conf = load()
    registries, term = _places(rest, conf)
    if not term:
        raise UsageError(f"searching for {text}: there is no word to look for", f"write {text.rstrip('/')}/NAME")
    results: list[Result] = []
    faults: list[RegistryError | NotFoundError] = []
    for host in registries:
        try:
            results += _search(host, term, conf, access, most)
        except (RegistryError, NotFoundError) as fault:
            faults.append(fault)
    if faults and len(faults) == len(registries):
        raise faults[0]
    return results, faults


def _places(text: str, conf: RegistriesConf) -> tuple[list[str], str]:
    """The registries to search, and what for."""
    host, _, term = text.partition("/")
    if names_registry(text) or (text.endswith("/") and names_registry(text + "x")):
        return [host], term
    return conf.search or [DEFAULT_DOMAIN], text


def _search(host: str, term: str, conf: RegistriesConf, access: Access, most: int) -> list[Result]:
    endpoint = access.registry(conf, host)
    credentials = access.credentials_for(conf, endpoint)
    if host == DEFAULT_DOMAIN:
        endpoint = replace(endpoint, host=_HUB_SEARCH)
    listing = Listing(endpoint, credentials, f"searching for {term}", Pauses(access.patience, threading.Event()))
    try:
        found = listing.search(term, most)
        if found is None:
            found = [Found(name) for name in listing.repositories(term, most)]
    finally:
        listing.close()
    return [Result(host, _full(host, one.name), one) for one in found]


def _full(host: str, name: str) -> str:
    return f"{host}/library/{name}" if host == DEFAULT_DOMAIN and "/" not in name else f"{host}/{name}"
