"""What a registry has: the tags of a repository, its repositories, and what its search finds.

Distribution-spec, "Content discovery"; Docker's catalog; Docker Hub's search, of the first version of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urljoin

from rootless.errors import NotFoundError
from rootless.jsontext import loads
from storage.registry.faults import Fault
from storage.registry.http import Response, discard, read_document
from storage.registry.patience import Pauses
from storage.registry.session import Session
from storage.settings.auth import Credentials
from storage.settings.registries_conf import Endpoint

_LIMIT = 16 << 20  # bytes of a page
_MOST_PAGES = 1000
_PAGE = 1000  # names that are asked for at a time


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found: `name` as the registry calls it, without a host."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


class Listing:
    """`endpoint` is the repository, or a registry as a whole, `where` is how messages call the work."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None, where: str, pauses: Pauses) -> None:
        self.host = endpoint.host
        self._where = where
        self._pauses = pauses
        self._session = Session(endpoint, credentials, pauses)

    def tags(self) -> list[str]:
        """All tags of the repository, in the registry's order. Raises NotFoundError, RegistryError."""
        what = f"{self._where}: asking {self.host} for the tags"
        return [tag for page in self._pages(f"tags/list?n={_PAGE}", "tags", what) for tag in page]

    def repositories(self, part: str, most: int) -> list[str]:
        """Up to `most` repositories whose names have `part` in them. Raises NotFoundError, RegistryError."""
        what = f"{self._where}: asking {self.host} for its repositories"
        found: list[str] = []
        for page in self._pages(f"_catalog?n={_PAGE}", "repositories", what):
            found += [name for name in page if part in name]
            if len(found) >= most:
                break
        return found[:most]

    def search(self, term: str, most: int) -> list[Found] | None:
        """Up to `most` results of the registry's own search; None where it has none. Raises RegistryError."""
        what = f"{self._where}: asking {self.host}"

        def ask() -> list[Any] | None:
            response = self._session.send("GET", f"/v1/search?q={quote(term, safe='')}&n={most}", {}, what)
            if response.status in (401, 403, 404, 405, 410):
                discard(response)
                return None
            self._session.expect(response, (200,), what)
            return _list(read_document(response, _LIMIT, what), "results", what, dict)

        results = self._pauses.patiently(ask)
        return None if results is None else [_found(result) for result in results if result.get("name")][:most]

    def close(self) -> None:
        self._session.close()

    def _pages(self, path: str, key: str, what: str) -> Iterator[list[str]]:
        """Lists of names, a page at a time, as the Link headers lead (RFC 8288, rel="next")."""
        place: str | None = path
        seen: set[str] = set()
        while place is not None:
            if place in seen or len(seen) >= _MOST_PAGES:
                raise Fault(f"{what}: the list does not end (after {len(seen)} pages)")
            seen.add(place)
            page, place = self._pauses.patiently(partial(self._page, place, key, what))
            yield page

    def _page(self, place: str, key: str, what: str) -> tuple[list[str], str | None]:
        response = self._session.send("GET", place, {"Accept": "application/json"}, what)
        if response.status == 404:
            said = self._session.said(response, what)
            raise NotFoundError(f"{what}: there is none{said}", "check the spelling of the name")
        self._session.expect(response, (200,), what)
        following = _next(response)
        names = _list(read_document(response, _LIMIT, what), key, what, str)
        return names, urljoin(self._session.absolute(place), following) if following else None


def _next(response: Response) -> str | None:
    """The target of the Link header that leads on."""
    for link in response.headers.get("link", "").split(","):
        target, _, parameters = link.strip().partition(">")
        if target.startswith("<") and 'rel="next"' in parameters.replace(" ", "").replace("rel=next", 'rel="next"'):
            return target[1:]
    return None


def _list(body: bytes, key: str, what: str, kind: type) -> list[Any]:
    try:
        answer = loads(body)
    except ValueError as error:
        raise Fault(f"{what}: the answer is not JSON: {error}") from None
    found = answer.get(key) if isinstance(answer, dict) else None
    if found is None and isinstance(answer, dict):
        return []
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise Fault(f"{what}: the answer has no list of {key}")
    return found


def _found(result: dict[str, Any]) -> Found:
    stars = result.get("star_count")
    return Found(
        str(result["name"]),
        str(result.get("description") or ""),
        stars if isinstance(stars, int) else 0,
        result.get("is_official") is True,
        result.get("is_automated") is True,
    )
