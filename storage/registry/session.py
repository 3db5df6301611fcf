"""Requests to one repository: https or http, logging in where asked, redirects, and refusals put into words."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import urljoin, urlsplit

from rootless.errors import NotFoundError
from rootless.jsontext import loads
from storage.references import DEFAULT_DOMAIN
from storage.registry.authorization import Authorization, refused
from storage.registry.faults import Fault, PassingFault, allow_http
from storage.registry.http import Body, Http, Response, discard, origin_of, read_document
from storage.registry.patience import Pauses
from storage.settings.auth import Credentials
from storage.settings.registries_conf import Endpoint

HUB = "registry-1.docker.io"
_MOST_REDIRECTS = 10
_MOST_LOGINS = 2
_ERROR_BYTES = 1 << 16
_OVERLOADED = (429, 500, 502, 503, 504)


class Session:
    """What belongs together for one endpoint. Any thread may send.

    `actions`: what is going to be done with the repository ("pull", "pull,push"); `sources`: repositories of the same
    registry out of which blobs may be taken. An endpoint without a repository is the registry as a whole.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None,
        pauses: Pauses,
        actions: str = "pull",
        sources: Sequence[str] = (),
    ) -> None:
        self.host = endpoint.host
        self.repository = endpoint.repository
        self._insecure = endpoint.insecure
        self._credentials = credentials
        self._pauses = pauses
        self._http = Http(endpoint.insecure, endpoint.certificates)
        scopes = [f"repository:{self.repository}:{actions}"] if self.repository else []
        scopes += [f"repository:{source}:pull" for source in sources]
        self._auth = Authorization(self._http, self.host, scopes, credentials, endpoint.insecure)
        self._base: str | None = None
        self._lock = threading.Lock()

    def get(self, path: str, headers: dict[str, str], what: str) -> Response:
        """GET below /v2/<repository>/; the answer may have any status but 429 and 5xx, which are PassingFaults."""
        return self.send("GET", path, headers, what)

    def send(
        self,
        method: str,
        place: str,
        headers: dict[str, str],
        what: str,
        body: Body | None = None,
        seconds: float | None = None,
    ) -> Response:
        """As `get`, for any method. `place`: a path below /v2/<repository>/, one that begins with a slash, or a URL
        that the registry has named.

        A body that is sent in vain (401, a redirect) is sent again. `seconds`: how long the server may be silent.
        """
        base = self._find_base(what)
        url = urljoin(base, self.absolute(place))
        self._refuse_downgrade(base, url, what)
        for _ in range(_MOST_LOGINS + 1):
            header = self._auth.header
            sent = headers | ({"Authorization": header} if header else {})
            response, own = self._follow(method, url, sent, what, body, seconds)
            self._pauses.met = True
            challenge = response.headers.get("www-authenticate", "")
            # only the registry itself may say where credentials go, not a host that it has sent us to
            if response.status != 401 or not own or not challenge or not self._auth.renew(challenge, header):
                break
            discard(response)
        if response.status in _OVERLOADED:
            self._overloaded(response, what)
        return response

    def absolute(self, place: str) -> str:
        """A `place` with all of its path."""
        if place.startswith("/") or "://" in place.partition("?")[0]:
            return place
        return f"/v2/{self.repository}/{place}" if self.repository else f"/v2/{place}"

    def expect(self, response: Response, statuses: tuple[int, ...], what: str) -> None:
        """Raises what the status means, with what the registry says about it, unless it is one of `statuses`."""
        if response.status in statuses:
            return
        said = self.said(response, what)
        if response.status in (401, 403):
            why, hint = refused(self.host, self._credentials)
            raise Fault(f"{what}: {why}{said}", hint)
        if response.status == 404:
            raise NotFoundError(f"{what}: there is none{said}")
        raise Fault(f"{what}: HTTP status {response.status}{said}")

    def said(self, response: Response, what: str) -> str:
        """What the registry's error document says (distribution-spec, error codes), as " (...)", or nothing."""
        try:
            first = loads(read_document(response, _ERROR_BYTES, what))["errors"][0]
            text = str(first.get("message") or first.get("code"))
        except (Fault, ValueError, LookupError, TypeError, AttributeError):
            return ""
        clean = "".join(character if character.isprintable() else " " for character in text)
        return f" ({clean[:200]})"

    def location(self, response: Response, what: str) -> str:
        """The URL that the answer names in its Location, for later requests. Raises Fault where there is none."""
        location = response.headers.get("location")
        if not location:
            raise Fault(f"{what}: the answer does not say where to go on (there is no Location)")
        self._refuse_downgrade(self._find_base(what), location, what)
        return location

    def close(self) -> None:
        self._http.close()

    def _follow(
        self, method: str, url: str, headers: dict[str, str], what: str, body: Body | None, seconds: float | None
    ) -> tuple[Response, bool]:
        """The answer after all redirects, and whether it is the registry's own."""
        first = origin_of(self._find_base(what))
        for _ in range(_MOST_REDIRECTS + 1):
            own = origin_of(url) == first
            if not own:  # credentials never follow to another host
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            response = self._http.send(method, url, headers, what, body=body, seconds=seconds)
            target = response.headers.get("location")
            if response.status not in (301, 302, 303, 307, 308) or not target:
                if target:  # for whoever goes on there: it may be relative to where the redirects have led
                    response.headers["location"] = _target(url, target, what)
                return response, own
            discard(response)
            if method not in ("GET", "HEAD") and response.status not in (307, 308):
                raise Fault(f"{what}: it answers a {method} with the redirect {response.status}, which loses the body")
            previous, url = url, _target(url, target, what)
            self._refuse_downgrade(previous, url, what)
        raise Fault(f"{what}: it sends us around in circles (more than {_MOST_REDIRECTS} redirects)")

    def _refuse_downgrade(self, previous: str, url: str, what: str) -> None:
        if url.startswith("http:") and previous.startswith("https:") and not self._insecure:
            raise Fault(f"{what}: it sends us from https to http ({origin_of(url)})", allow_http(self.host))

    def _find_base(self, what: str) -> str:
        """ "https://host", or "http://host" where that is allowed and the only one that answers; found out once."""
        with self._lock:
            if self._base is None:
                host = HUB if self.host == DEFAULT_DOMAIN else self.host
                self._base = self._https_or_http(host, what) if self._insecure else f"https://{host}"
            return self._base

    def _https_or_http(self, host: str, what: str) -> str:
        try:
            discard(self._http.send("GET", f"https://{host}/v2/", {}, what))
            return f"https://{host}"
        except Fault as fault:
            by_https = fault
        try:
            discard(self._http.send("GET", f"http://{host}/v2/", {}, what))
            return f"http://{host}"
        except Fault as fault:
            if not by_https.plain_http and fault.message != by_https.message:
                fault.message += f" (by http; by https: {by_https.message.removeprefix(what + ': ')})"
            raise

    def _overloaded(self, response: Response, what: str) -> NoReturn:
        after = _retry_after(response.headers.get("retry-after"))
        said = self.said(response, what)
        wait = f", and asks to wait {after:.0f} s" if after else ""
        if response.status == 429:
            hint = (
                f"log in for a higher limit: rootless login {self.host}"
                if self._credentials is None
                else "try again later"
            )
            raise PassingFault(f"{what}: the registry limits how much may be asked{wait}{said}", hint, after)
        raise PassingFault(f"{what}: HTTP status {response.status}{wait}{said}", "try again later", after)


def _target(url: str, location: str, what: str) -> str:
    """Where a redirect leads; raises Fault unless that is a URL of http or https."""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme in ("http", "https") and parts.hostname:
            return target
    except ValueError:
        pass
    raise Fault(f"{what}: it sends us to {location[:80]!r}")


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which may be a number or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header.strip()[:9])
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds()) if when.tzinfo else None
