"""The Authorization header for some repositories: basic, or a bearer token from the registry's token service.

Docker's token authentication (distribution: spec/auth/token, spec/auth/oauth).
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from rootless.errors import RegistryError
from rootless.jsontext import loads
from storage.registry.challenge import Challenge, parse_challenges
from storage.registry.faults import Fault, PassingFault, allow_http
from storage.registry.http import Http, Response, discard, read_document
from storage.settings.auth import Credentials

_LIMIT = 1 << 20
_CLIENT = "rootless"


class Authorization:
    """`header` is what to send, or None. After a 401 `renew` gets a new one; any thread may call both.

    `scopes`: what tokens are asked for ("repository:team/app:pull,push"). A service that refuses them all together is
    asked for the first alone.
    """

    def __init__(
        self, http: Http, host: str, scopes: Sequence[str], credentials: Credentials | None, insecure: bool
    ) -> None:
        self._http = http
        self._host = host
        self._scopes = list(scopes)
        self._credentials = credentials
        self._insecure = insecure
        self._lock = threading.Lock()
        self.header: str | None = None

    def renew(self, challenge_header: str, refused: str | None) -> bool:
        """Answer a challenge; `refused` is the header that it came in answer to. Whether it is worth asking again.

        Raises RegistryError where the token service fails or there is no way to answer.
        """
        with self._lock:
            if self.header != refused:
                return True  # another thread was faster
            challenges = parse_challenges(challenge_header)
            for challenge in challenges:
                if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                    self.header = "Bearer " + self._fetch_token(challenge)
                    return True
            if any(challenge.scheme == "basic" for challenge in challenges):
                if self._credentials is None or not self._credentials.user or refused is not None:
                    return False
                self.header = self._basic()
                return True
            known = ", ".join(challenge.scheme for challenge in challenges) or "nothing"
            raise RegistryError(f"logging in to {self._host}: it asks for {known}, where basic or bearer was expected")

    def _basic(self) -> str:
        assert self._credentials is not None
        return basic_header(self._credentials)

    def _fetch_token(self, challenge: Challenge) -> str:
        realm = challenge.parameters["realm"]
        service = challenge.parameters.get("service", "")
        what = self._check_realm(realm)
        credentials = self._credentials
        response = self._ask(realm, service, what)
        if response.status in (400, 401, 403) and len(self._scopes) > 1:
            discard(response)
            del self._scopes[1:]
            response = self._ask(realm, service, what)
        body = read_document(response, _LIMIT, what)
        if response.status in (401, 403):
            raise RegistryError(f"{what}: {_refusal(credentials)}", _login(self._host, credentials))
        if response.status >= 500 or response.status == 429:
            raise PassingFault(f"{what}: HTTP status {response.status}")
        if response.status != 200:
            raise Fault(f"{what}: HTTP status {response.status}")
        return _token_in(body, what)

    def _ask(self, realm: str, service: str, what: str) -> Response:
        credentials = self._credentials
        headers: dict[str, str] = {"Accept": "application/json"}
        if credentials is not None and credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "service": service,
                "client_id": _CLIENT,
            }
            if self._scopes:
                form["scope"] = " ".join(self._scopes)
            return self._http.send("POST", realm, headers, what, form)
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in self._scopes]
        if credentials is not None:
            query += [("account", credentials.user), ("client_id", _CLIENT)]
            headers["Authorization"] = basic_header(credentials)
        return self._http.send("GET", f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", headers, what)

    def _check_realm(self, realm: str) -> str:
        """What is being done, for messages; raises Fault where the realm is no place for a password."""
        try:
            parts = urlsplit(realm)
            scheme, place = parts.scheme, parts.netloc.rpartition("@")[2]
        except ValueError:
            scheme = place = ""
        what = f"asking {place or repr(realm[:80])} for a token for {self._host}"
        if place and (scheme == "https" or (scheme == "http" and self._insecure)):
            return what
        if scheme == "http":
            raise Fault(f"{what}: it would send the password in clear text over http", allow_http(self._host))
        raise Fault(f"{what}: that is not a URL of https")


def basic_header(credentials: Credentials) -> str:
    """RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()


def refused(host: str, credentials: Credentials | None) -> tuple[str, str]:
    """Why a registry refuses with 401 or 403, as a phrase, and what to do about it."""
    return _refusal(credentials), _login(host, credentials)


def _refusal(credentials: Credentials | None) -> str:
    if credentials is None:
        return "access denied, and there are no credentials for it (or there is no such repository)"
    return f"access denied with the credentials of {credentials.user or 'the identity token'} from {credentials.source}"


def _login(host: str, credentials: Credentials | None) -> str:
    if credentials is None:
        return f"log in: rootless login {host}, or, this once, --creds USER:PASSWORD"
    return f"are they right, and do they allow this? they come from {credentials.source}"


def _token_in(body: bytes, what: str) -> str:
    try:
        answer = loads(body)
    except ValueError as error:
        raise Fault(f"{what}: the answer is not JSON: {error}") from None
    if isinstance(answer, dict):
        for key in ("token", "access_token"):
            token = answer.get(key)
            if isinstance(token, str) and token:
                if not token.isascii() or not token.isprintable() or " " in token:
                    break
                return token
    raise Fault(f"{what}: there is no token in the answer")
