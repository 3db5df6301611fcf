"""The tarball of a root file system from a web server, as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import urllib3

from rootless.errors import ImageError, NotFoundError, UsageError
from storage.registry.faults import FAULTS, Fault, translate
from storage.registry.http import Http, Response, discard, origin_of

_CHUNK = 1 << 20
_MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def without_secrets(url: str) -> str:
    """The URL as it may be told and recorded: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextmanager
def open_url(url: str) -> Iterator[Callable[[], bytes]]:
    """A function that gives the next piece of what the server sends, b"" at its end.

    Certificates are checked as for registries, proxies taken from the environment; up to ten redirects are followed,
    none from https to http, and a password in `url` is for the first host alone. Raises NotFoundError, UsageError,
    Fault (a RegistryError); `read` raises ImageError where the connection is cut.
    """
    what = f"importing {without_secrets(url)}"
    if not urlsplit(url).hostname:
        raise UsageError(f"{what}: it names no host")
    http = Http(insecure=False)
    try:
        response = _get(http, url, what)
        try:
            yield _reader(response, what)
        finally:
            response.close()
    finally:
        http.close()


def _get(http: Http, url: str, what: str) -> Response:
    first = origin_of(url)
    headers = _authorization(url)
    for _ in range(_MOST_REDIRECTS + 1):
        plain = without_secrets(url)
        try:
            response = http.send("GET", plain, headers if origin_of(url) == first else {}, what)
        except Fault as fault:
            fault.hint = (fault.hint or "").partition("; with --tls-verify=false")[0] or None
            raise
        if response.status not in _REDIRECTS:
            break
        target = urljoin(plain, response.headers.get("location", ""))
        discard(response)
        if not is_url(target) or (plain.startswith("https:") and not target.startswith("https:")):
            raise Fault(f"{what}: the server sends us to {without_secrets(target)[:200]}, which is not followed")
        url = target
    else:
        raise Fault(f"{what}: more than {_MOST_REDIRECTS} redirects")
    if response.status == 404:
        raise NotFoundError(f"{what}: there is no such file")
    if response.status != 200:
        hint = "write https://USER:PASSWORD@HOST/..." if response.status == 401 else None
        raise Fault(f"{what}: HTTP status {response.status}", hint)
    return response


def _authorization(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    return urllib3.make_headers(basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")


def _reader(response: Response, what: str) -> Callable[[], bytes]:
    expected = response.headers.get("content-length", "")
    length = 0

    def read() -> bytes:
        nonlocal length
        try:
            data = response.read1(_CHUNK, decode_content=False)
        except FAULTS as error:
            raise ImageError(translate(error, what, "").message, "try again") from None
        length += len(data)
        if not data and expected.isdigit() and int(expected) != length:
            raise ImageError(f"{what}: the connection was cut after {length} of {expected} bytes", "try again")
        return data

    return read
