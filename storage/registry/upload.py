"""Pushing into one repository of one registry (OCI distribution-spec, "Push"): blobs, then the manifest.

A blob is asked for first, then taken over from another repository of the registry, then uploaded: small ones with one
PUT, others with a PATCH that goes on where a broken connection has ended it, and a PUT that closes the upload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from urllib.parse import quote

import rootless
from rootless.errors import RegistryError
from storage.documents import manifests
from storage.registry.faults import Fault, PassingFault
from storage.registry.http import Response, discard
from storage.registry.patience import Pauses
from storage.registry.session import Session
from storage.settings.auth import Credentials
from storage.settings.registries_conf import Endpoint

HERE, MOUNTED, SENT = "already there", "taken over from another repository", ""
_AT_ONCE = 1 << 20  # bytes of a blob that are sent with a single PUT
_PROGRESS = 1 << 20  # bytes after which a broken transfer has all its tries again
_CLOSING_SECONDS = 300.0  # registries copy and hash a large blob before they answer
_BINARY = {"Content-Type": "application/octet-stream"}


class Content(Protocol):
    """A blob to send: `digest` in hex, `size` in bytes; `pieces(start)` are its bytes from there on."""

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> int: ...

    def pieces(self, start: int) -> Iterator[bytes]: ...


class Bytes:
    """A small blob that is in memory: a configuration."""

    def __init__(self, data: bytes, digest: str) -> None:
        self.data = data
        self.digest = digest
        self.size = len(data)

    def pieces(self, start: int) -> Iterator[bytes]:
        """All of it from `start` on."""
        yield self.data[start:]


class _LostUpload(PassingFault):
    """The registry knows nothing of the upload any more: it begins anew."""


class Uploader:
    """`endpoint` is where to push, `where` is how messages call the push. `sources`: the repositories of the same
    registry out of which blobs may be taken over. Any thread may use it."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None,
        where: str,
        pauses: Pauses,
        sources: Sequence[str] = (),
    ) -> None:
        self.host = endpoint.host
        self._where = where
        self._pauses = pauses
        self._session = Session(endpoint, credentials, pauses, "pull,push", sources)
        self._closed: set[str] = set()  # repositories out of which we may take nothing

    def has(self, digest: str) -> bool:
        """Whether the repository has the blob `digest` (hex). Raises RegistryError."""
        what = f"{self._where}: asking {self.host} for sha256:{digest[:12]}"

        def ask() -> bool:
            response = self._session.send("HEAD", f"blobs/sha256:{digest}", {}, what)
            if response.status == 404:
                discard(response)
                return False
            self._session.expect(response, (200,), what)
            discard(response)
            return True

        return self._pauses.patiently(ask)

    def mount(self, digest: str, source: str) -> bool:
        """Take the blob `digest` (hex) over from the repository `source`; whether the registry has done so.

        Tried once: what has failed can still be sent."""
        if source in self._closed:
            return False
        what = f"{self._where}: taking sha256:{digest[:12]} over from {source}"
        path = f"blobs/uploads/?mount=sha256:{digest}&from={quote(source, safe='/')}"
        try:
            response = self._session.send("POST", path, {"Content-Length": "0"}, what)
        except PassingFault as fault:
            if rootless.debug:
                rootless.debug(fault.message)
            return False
        if response.status == 202:  # an upload was begun in its place, which nobody is going to finish
            self._cancel_upload(response, what)
            return False
        discard(response)
        if response.status in (401, 403):
            self._closed.add(source)
        return response.status == 201

    def send(self, blob: Content, sources: Sequence[str], advance: Callable[[int], None]) -> str:
        """Make sure that the repository has the blob: HERE, MOUNTED from one of `sources`, or SENT.

        `advance` is told of bytes as they are sent, of negative ones where they have to be sent again.
        Raises RegistryError, and what reading the blob raises.
        """
        if self.has(blob.digest):
            return HERE
        for source in sources:
            if self.mount(blob.digest, source):
                return MOUNTED
        _Transfer(self._session, blob, self._where, self._pauses, advance).run(self.has)
        return SENT

    def put_manifest(self, data: bytes, media_type: str, reference: str) -> None:
        """Store a manifest or an index under a tag or its digest ("sha256:..."). Raises RegistryError, also where the
        registry says that it has stored another one."""
        what = f"{self._where}: storing the manifest at {self.host}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        digest = "sha256:" + hashlib.sha256(data).hexdigest()

        def put() -> None:
            response = self._session.send("PUT", f"manifests/{reference}", headers, what, data, _CLOSING_SECONDS)
            if response.status in (400, 415, 422):
                said = self._session.said(response, what)
                other = "v2s2" if media_type in (manifests.OCI_MANIFEST, manifests.OCI_INDEX) else "oci"
                raise Fault(
                    f"{what}: it is refused: HTTP status {response.status}{said}",
                    f"an old registry may take the other format: --format {other}",
                )
            self._session.expect(response, (200, 201, 202, 204), what)
            discard(response)
            stored = response.headers.get("docker-content-digest", "")
            if stored.startswith("sha256:") and stored != digest:
                raise Fault(f"{what}: it has stored {stored[:71]}, where {digest} was sent")

        self._pauses.patiently(put)

    def close(self) -> None:
        self._session.close()

    def _cancel_upload(self, response: Response, what: str) -> None:
        discard(response)
        try:
            discard(self._session.send("DELETE", self._session.location(response, what), {}, what))
        except RegistryError as error:  # it expires by itself
            if rootless.debug:
                rootless.debug(error.message)


class _Transfer:
    """One blob on its way. `position`: how many of its bytes the registry has, as far as is known."""

    def __init__(
        self, session: Session, blob: Content, where: str, pauses: Pauses, advance: Callable[[int], None]
    ) -> None:
        self._session = session
        self._blob = blob
        self._pauses = pauses
        self._advance = advance
        self._what = f"{where}: sending sha256:{blob.digest[:12]} to {session.host}"
        self._upload: str | None = None
        self._position = 0
        self._told = 0  # what `advance` knows of
        self._resumed = False

    def run(self, has: Callable[[str], bool]) -> None:
        """Returns when the registry has confirmed the blob. `has` asks whether it is there."""
        tried = anchor = 0
        fault: PassingFault | None = None
        while True:
            try:
                if fault is not None and self._take_up(fault, has):
                    return
                fault = None
                if self._upload is None:
                    self._begin()
                if self._blob.size > _AT_ONCE:
                    while self._position < self._blob.size:
                        self._patch()
                self._close()
                return
            except PassingFault as met:
                fault = met
                if self._position - anchor >= _PROGRESS:
                    tried, anchor = 0, self._position
                self._pauses.after(met, tried)
                tried += 1

    def _begin(self) -> None:
        response = self._session.send("POST", "blobs/uploads/", {"Content-Length": "0"}, self._what)
        self._session.expect(response, (202,), self._what)
        discard(response)
        self._upload = self._session.location(response, self._what)
        self._position = 0
        self._resumed = False
        self._tell(0)

    def _patch(self) -> None:
        """Send the rest."""
        assert self._upload is not None
        start, size = self._position, self._blob.size
        headers = {**_BINARY, "Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"{start}-{size - 1}"
        response = self._session.send(
            "PATCH", self._upload, headers, self._what, lambda: self._pieces(start), _CLOSING_SECONDS
        )
        if response.status in (404, 416) or (response.status == 400 and self._resumed):
            raise self._lost(response)
        self._expect(response, (201, 202, 204))
        discard(response)
        self._upload = self._session.location(response, self._what)
        self._position = _range_end(response.headers.get("range") or f"0-{size - 1}", size)
        self._tell(self._position)
        if self._position <= start:
            raise _LostUpload(f"{self._what}: it has kept nothing of what was sent")

    def _close(self) -> None:
        assert self._upload is not None
        separator = "&" if "?" in self._upload else "?"
        url = f"{self._upload}{separator}digest=sha256:{self._blob.digest}"
        start = self._position
        headers = {**_BINARY, "Content-Length": str(self._blob.size - start)}
        response = self._session.send("PUT", url, headers, self._what, lambda: self._pieces(start), _CLOSING_SECONDS)
        if response.status in (404, 416) or (response.status == 400 and self._resumed):
            raise self._lost(response)
        self._expect(response, (200, 201, 202, 204))
        discard(response)

    def _pieces(self, start: int) -> Iterator[bytes]:
        self._tell(start)
        for piece in self._blob.pieces(start):
            self._pauses.check()
            yield piece
            self._told += len(piece)
            self._advance(len(piece))

    def _take_up(self, fault: PassingFault, has: Callable[[str], bool]) -> bool:
        """After a fault: where to go on. True where the blob has arrived after all."""
        if self._upload is None:
            return False
        if not isinstance(fault, _LostUpload):
            response = self._session.send("GET", self._upload, {}, self._what)
            discard(response)
            if response.status == 204 or response.status == 202:
                self._resumed = True
                self._upload = self._session.location(response, self._what)
                self._position = _range_end(response.headers.get("range", ""), self._blob.size)
                self._tell(self._position)
                return False
        self._upload = None
        self._position = 0
        return has(self._blob.digest)

    def _lost(self, response: Response) -> _LostUpload:
        said = self._session.said(response, self._what)
        return _LostUpload(f"{self._what}: HTTP status {response.status}{said}")

    def _expect(self, response: Response, statuses: tuple[int, ...]) -> None:
        if response.status == 413:
            said = self._session.said(response, self._what)
            raise Fault(
                f"{self._what}: it is too large for it ({self._blob.size} bytes){said}",
                "ask who runs the registry, or the proxy before it, for a higher limit",
            )
        self._session.expect(response, statuses, self._what)

    def _tell(self, position: int) -> None:
        if position != self._told:
            self._advance(position - self._told)
            self._told = position


def _range_end(header: str, size: int) -> int:
    """How many bytes are there, by a Range of "0-1023"; "0-0" is none (or one, which is as good as none)."""
    first, dash, last = header.removeprefix("bytes=").strip().partition("-")
    if not dash or first != "0" or not last.isdigit() or last == "0":
        return 0
    return min(int(last) + 1, size)
