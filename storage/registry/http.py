"""HTTP to the hosts that one registry involves: itself, its token service, where its blobs lie.

One try for each call; faults come out as `storage.registry.faults` tells them. No redirect is followed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import urllib3

import rootless
from storage.registry.faults import FAULTS, Fault, PassingFault, translate
from storage.registry.tls import make_context

CONNECT_SECONDS = 15.0
READ_SECONDS = 30.0  # without a single byte
DOCUMENT_SECONDS = 60.0  # for all of a manifest, a token or a configuration
_PIECE = 1 << 18
_CONNECTIONS = 8
_DISCARD = 1 << 14

USER_AGENT = "rootless"

Response = urllib3.BaseHTTPResponse
Body = bytes | Callable[[], Iterable[bytes]]  # the second is called for each sending; its length is in the headers


class Http:
    """Connections kept open for each origin ("https://host:port"). Any thread may send.

    `insecure`: certificates are not looked at. `certificates`: a folder that takes the place of certs.d.
    """

    def __init__(self, insecure: bool, certificates: str | None = None) -> None:
        self._insecure = insecure
        self._certificates = certificates
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        what: str,
        fields: dict[str, str] | None = None,
        body: Body | None = None,
        seconds: float | None = None,
    ) -> Response:
        """Send one request; the answer's body is not read yet. `fields`: a form, where there is no `body`.

        `seconds`: how long the server may be silent (None: READ_SECONDS); for each piece of `body` that is sent it has
        CONNECT_SECONDS. Raises Fault.
        """
        origin = origin_of(url)
        host = origin.partition("://")[2]
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        content: dict[str, Any] = {"fields": fields, "encode_multipart": False} if fields is not None else {}
        if body is not None:
            content = {"body": body() if callable(body) else body}
        started = time.monotonic()
        try:
            response = self._pool(origin).request(
                method,
                url,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds or READ_SECONDS),
                **content,
            )
        except FAULTS as error:
            if rootless.debug:
                rootless.debug(f"{method} {_without_query(url)}: {error}")
            raise translate(error, what, host) from None
        if rootless.debug:
            spent = time.monotonic() - started
            rootless.debug(f"{method} {_without_query(url)}: {response.status} after {spent:.3f} s")
        return response

    def _pool(self, origin: str) -> urllib3.PoolManager:
        with self._lock:
            pool = self._pools.get(origin)
            if pool is None:
                pool = self._pools[origin] = self._make_pool(origin)
            return pool

    def _make_pool(self, origin: str) -> urllib3.PoolManager:
        scheme, _, host = origin.partition("://")
        options: dict[str, Any] = {"num_pools": 2, "maxsize": _CONNECTIONS}
        if scheme == "https":
            options["ssl_context"] = make_context(host, self._insecure, self._certificates)
            if self._insecure:
                options["assert_hostname"] = False
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it was asked for
        proxy = _proxy_for(scheme, host)
        if proxy is None:
            return urllib3.PoolManager(**options)
        headers = None
        parts = urlsplit(proxy)
        if parts.username:
            from urllib.parse import unquote

            headers = urllib3.make_headers(
                proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            )
        try:
            return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
        except urllib3.exceptions.HTTPError as error:
            raise Fault(
                f"using the proxy {parts.hostname} for {host}: {error}", "see HTTPS_PROXY and HTTP_PROXY"
            ) from None

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.clear()


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, with the port that the scheme implies left away."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    implied = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return f"{parts.scheme}://{host.removesuffix(implied) if implied else host}"


def _without_query(url: str) -> str:
    """A URL for a message: where blobs lie, the query is a key to them, and a user may be named before the host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?..." if parts.query else "")


def read_document(response: Response, limit: int, what: str) -> bytes:
    """The whole body, of at most `limit` bytes, within DOCUMENT_SECONDS. Raises Fault."""
    deadline = time.monotonic() + DOCUMENT_SECONDS
    pieces = []
    length = 0
    try:
        while piece := response.read1(_PIECE, decode_content=False):
            pieces.append(piece)
            length += len(piece)
            if length > limit:
                raise Fault(f"{what}: the answer is longer than {limit} bytes")
            if time.monotonic() > deadline:
                raise PassingFault(f"{what}: the server is too slow (more than {DOCUMENT_SECONDS:.0f} s)")
        expected = response.headers.get("content-length", "")
        if expected.isdigit() and int(expected) != length and response.status != 204:
            raise PassingFault(f"{what}: the connection was cut after {length} of {expected} bytes")
    except Fault:
        response.close()
        raise
    except FAULTS as error:
        response.close()
        raise translate(error, what, "") from None
    response.release_conn()
    return b"".join(pieces)


def discard(response: Response) -> None:
    """Be done with an answer: a short body is read, so that the connection can serve again."""
    length = response.length_remaining
    if length is None or length > _DISCARD:
        response.close()
        return
    try:
        response.read(decode_content=False)
        response.release_conn()
    except FAULTS:
        response.close()  # whatever was wrong with it, the connection goes


def _proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment wants for a host; loopback never has one."""
    if not any(name.lower() in (f"{scheme}_proxy", "all_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    bare = urlsplit(f"//{host}").hostname or ""
    if bare in ("localhost", "::1") or bare.startswith("127.") or proxy_bypass(host):
        return None
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    return found if not found or "://" in found else "http://" + found
