"""GPG signatures in a lookaside (containers-registries.d(5)): files beside the registry, by manifest digest.

<base>/<repository>@sha256=<hex>/signature-1, signature-2, ... until one is missing
"""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

from rootless.errors import RegistryError, StorageError

MOST = 128
LARGEST = 4 << 20
_MOST_REDIRECTS = 5


def read_lookaside(base: str, repository: str, digest: str, where: str) -> list[bytes]:
    """The signatures of the manifest `digest` ("sha256:...") of `repository` (without its registry), as they lie below
    the URL `base` (file, http, https). Raises RegistryError, StorageError."""
    place = f"{base.rstrip('/')}/{repository}@{digest.replace(':', '=', 1)}"
    found: list[bytes] = []
    while len(found) < MOST:
        url = f"{place}/signature-{len(found) + 1}"
        data = _from_file(url, where) if base.startswith("file:") else _from_server(url, where)
        if data is None:
            return found
        found.append(data)
    raise RegistryError(f"{where}: there are more than {MOST} signatures at {place}")


def _from_file(url: str, where: str) -> bytes | None:
    path = unquote(urlsplit(url).path)
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{where}: reading the signature {path}: {error.strerror}") from None
    return _limited(data, path, where)


def _from_server(url: str, where: str) -> bytes | None:
    from storage.registry.http import Http, discard, read_document

    what = f"{where}: asking {urlsplit(url).netloc.rpartition('@')[2]} for a signature"
    http = Http(False)
    try:
        for _ in range(_MOST_REDIRECTS):
            response = http.send("GET", url, {}, what)
            target = response.headers.get("location")
            if response.status in (301, 302, 303, 307, 308) and target:
                discard(response)
                previous, url = url, urljoin(url, target)
                if urlsplit(url).scheme not in ("https", urlsplit(previous).scheme):
                    raise RegistryError(f"{what}: it sends us to {url[:80]!r}")
                continue
            if response.status == 404:
                discard(response)
                return None
            if response.status != 200:
                discard(response)
                raise RegistryError(f"{what}: HTTP status {response.status}")
            return read_document(response, LARGEST, what)
    finally:
        http.close()
    raise RegistryError(f"{what}: it sends us around in circles")


def _limited(data: bytes, place: str, where: str) -> bytes:
    if len(data) > LARGEST:
        raise StorageError(f"{where}: the signature {place} has more than {LARGEST} bytes")
    return data
