"""One repository of one registry (OCI distribution-spec): manifests, configurations, blobs, each checked.

Passing faults are tried again; a blob goes on where the connection was cut. Any thread may use a client.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rootless.errors import ImageError, NotFoundError
from storage.documents import manifests
from storage.registry.faults import FAULTS, Fault, PassingFault, translate
from storage.registry.http import Response, discard, read_document
from storage.registry.patience import Pauses
from storage.registry.session import Session
from storage.settings.auth import Credentials
from storage.settings.registries_conf import Endpoint

PIECE = 1 << 18
_PROGRESS = 1 << 20  # bytes after which a broken transfer has all its tries again
_SLOW_SECONDS = 30.0
_SLOW_BYTES = 30 << 10  # fewer than these in that time, and the transfer counts as stuck


@dataclass(frozen=True, slots=True)
class RawManifest:
    """A manifest or index byte for byte; `digest` with "sha256:"."""

    data: bytes
    media_type: str
    digest: str


class Client:
    """`endpoint` is where to ask, `where` is how messages call the image."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None, where: str, pauses: Pauses) -> None:
        self.host = endpoint.host
        self.repository = endpoint.repository
        self._where = where
        self._pauses = pauses
        self._session = Session(endpoint, credentials, pauses)
        self._lock = threading.Lock()
        self._open: set[Response] = set()

    def manifest(self, reference: str) -> RawManifest:
        """The manifest or index of a tag or a digest ("sha256:..."), whose content is checked against it.

        Raises NotFoundError, RegistryError, ImageError.
        """
        what = f"{self._where}: asking {self.host} for the manifest"

        def get() -> tuple[bytes, str]:
            response = self._session.get(f"manifests/{reference}", {"Accept": manifests.ACCEPT}, what)
            if response.status == 404:
                raise self._not_found(reference, self._session.said(response, what))
            self._session.expect(response, (200,), what)
            return read_document(response, manifests.LIMIT, what), response.headers.get("content-type", "")

        data, media_type = self._pauses.patiently(get)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if reference.startswith("sha256:") and digest != reference:
            raise ImageError(f"{what}: it was asked for {reference} and has sent {digest}")
        return RawManifest(data, media_type, digest)

    def document(self, blob: manifests.Descriptor, called: str = "configuration") -> bytes:
        """A small blob, checked against its digest. Raises NotFoundError, RegistryError, ImageError."""
        what = f"{self._where}: asking {self.host} for the {called} sha256:{blob.digest[:12]}"

        def get() -> bytes:
            response = self._session.get(f"blobs/sha256:{blob.digest}", {}, what)
            self._session.expect(response, (200,), what)
            return read_document(response, manifests.LIMIT, what)

        data = self._pauses.patiently(get)
        found = hashlib.sha256(data).hexdigest()
        if found != blob.digest:
            raise ImageError(f"{what}: it has sent another one (sha256:{found})")
        if len(data) != blob.size:
            raise ImageError(f"{what}: it has {len(data)} bytes, and {blob.size} in the manifest")
        return data

    def blob(self, blob: manifests.Descriptor, start: int, restart: Callable[[], None]) -> Iterator[bytes]:
        """The bytes of a blob from `start` on, through cuts and passing faults; the digest is the caller's to check.

        Where the server cannot go on in the middle, `restart` is called and the pieces begin again with the first
        byte. No more than `blob.size` bytes come. Raises NotFoundError, RegistryError, ImageError.
        """
        what = f"{self._where}: fetching sha256:{blob.digest[:12]} from {self.host}"
        position = anchor = start
        tried = 0
        while position < blob.size:
            try:
                response, begin = self._open_blob(blob, position, what)
                if begin != position:
                    restart()
                    position = anchor = begin
                for piece in self._pieces(response, blob.size - position, what):
                    position += len(piece)
                    yield piece
                if position < blob.size:
                    raise PassingFault(f"{what}: the connection was cut after {position} of {blob.size} bytes")
            except PassingFault as fault:
                if position - anchor >= _PROGRESS:
                    tried, anchor = 0, position
                self._pauses.after(fault, tried)
                tried += 1

    def interrupt(self) -> None:
        """End the transfers that other threads are waiting for; they see a cut connection."""
        with self._lock:
            for response in self._open:
                try:
                    response.shutdown()
                except (RuntimeError, ValueError, OSError):
                    pass  # it has ended by itself

    def close(self) -> None:
        self._session.close()

    def _open_blob(self, blob: manifests.Descriptor, start: int, what: str) -> tuple[Response, int]:
        """The answer that brings the blob, and the position at which it begins: `start` or 0."""
        path = f"blobs/sha256:{blob.digest}"
        response = self._session.get(path, {"Range": f"bytes={start}-"} if start else {}, what)
        if start and response.status == 416:
            discard(response)
            response = self._session.get(path, {}, what)
        self._session.expect(response, (200, 206), what)
        begin = 0
        if response.status == 206:
            begin = _range_start(response.headers.get("content-range", ""))
            if begin != start:
                response.close()
                raise Fault(f"{what}: the answer is another part of the blob than was asked for")
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) != blob.size - begin:
            response.close()
            raise ImageError(
                f"{what}: it has {begin + int(length)} bytes there, and {blob.size} in the manifest",
                "the registry, or something on the way to it, is damaged or lies",
            )
        return response, begin

    def _pieces(self, response: Response, most: int, what: str) -> Iterator[bytes]:
        """The body, in pieces as they come in; ends early where the connection does."""
        since, received = time.monotonic(), 0
        with self._lock:
            self._open.add(response)
        try:
            while most > 0:
                self._pauses.check()
                piece = response.read1(min(PIECE, most), decode_content=False)
                if not piece:
                    return
                most -= len(piece)
                received += len(piece)
                now = time.monotonic()
                if now - since > _SLOW_SECONDS:
                    if received < _SLOW_BYTES:
                        raise PassingFault(f"{what}: the server is too slow ({received} bytes in {now - since:.0f} s)")
                    since, received = now, 0
                yield piece
        except FAULTS as error:
            raise translate(error, what, self.host) from None
        finally:
            with self._lock:
                self._open.discard(response)
            if response.length_remaining == 0:
                response.release_conn()
            else:
                response.close()

    def _not_found(self, reference: str, said: str) -> NotFoundError:
        kind = "digest" if reference.startswith("sha256:") else "tag"
        return NotFoundError(
            f"{self._where}: {self.host} has no {self._session.repository} with the {kind} {reference}{said}",
            "check the digest; a registry forgets an image that no tag names any more"
            if kind == "digest"
            else "check the spelling of the name and the tag",
        )


def _range_start(header: str) -> int:
    """The first position of "bytes 100-199/200", or -1."""
    start = header.removeprefix("bytes ").partition("-")[0].strip()
    return int(start) if header.startswith("bytes ") and start.isdigit() else -1
