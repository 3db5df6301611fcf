"""Copying an image from registry to registry, as it is: no blob is kept here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from rootless.errors import ImageError
from rootless.jsontext import loads
from storage.documents.config import digest_hex
from storage.documents.manifests import DOCKER_LIST, OCI_INDEX, Descriptor
from storage.progress import Progress
from storage.references import Reference
from storage.registry.access import Access
from storage.registry.asking import ask
from storage.registry.client import Client, RawManifest
from storage.registry.upload import Uploader
from storage.settings.policy import DOCKER, docker_scopes
from storage.settings.policy import check as check_policy

_FOREIGN = ("nondistributable", ".foreign.")
_MOST_BLOBS = 1000


class _Remote:
    """A blob at another registry, as `Uploader.send` takes it."""

    def __init__(self, client: Client, blob: Descriptor) -> None:
        self._client = client
        self._blob = blob
        self.digest = blob.digest
        self.size = blob.size

    def pieces(self, start: int) -> Iterator[bytes]:
        """The bytes from `start` on; where the other side begins anew, what was sent already is passed over."""
        passed = over = 0

        def restart() -> None:
            nonlocal over
            over = start + passed

        for piece in self._client.blob(self._blob, start, restart):
            if over >= len(piece):
                over -= len(piece)
                continue
            rest = piece[over:]
            over = 0
            passed += len(rest)
            yield rest


def copy_manifest(source: str, uploader: Uploader, host: str, access: Access, progress: Progress) -> RawManifest:
    """Send what `source` ("host/repository@sha256:...") names, blobs first, to the repository of `uploader`, which is
    at `host`. Raises NotFoundError, ImageError, RegistryError, also where policy.json does not let it in."""

    def question(client: Client, reference: Reference) -> RawManifest:
        verdict = check_policy(DOCKER, docker_scopes(reference), f"copying {reference}")
        raw = client.manifest(str(reference.digest))
        if verdict.signed:
            from storage.signatures.verify import Examination

            Examination(verdict, reference, raw.digest, client, f"copying {reference}").check()
        same = [client.repository] if client.host == host else []
        config, *layers = _blobs(raw, source)
        uploader.send(_Remote(client, config), same, lambda count: None)
        for blob in layers:
            content = _Remote(client, blob)
            progress.layer(blob.digest, blob.size)
            note = uploader.send(content, same, partial(progress.advance, blob.digest))
            progress.done(blob.digest, note)
        uploader.put_manifest(raw.data, raw.media_type, raw.digest)
        return raw

    # credentials that were given are for where it goes to
    return ask(source, "copying", replace(access, credentials=None), question)


def _blobs(raw: RawManifest, where: str) -> list[Descriptor]:
    """The configuration and the layers; of these, what is not distributed stays where it is."""
    try:
        found = loads(raw.data)
    except ValueError as error:
        raise ImageError(f"copying {where}: the manifest is not JSON: {error}") from None
    if not isinstance(found, dict) or raw.media_type in (OCI_INDEX, DOCKER_LIST) or "manifests" in found:
        raise ImageError(f"copying {where}: a list in a list is not supported", "add its images to the list instead")
    listed = [found.get("config"), *(found.get("layers") or ())]
    if len(listed) > _MOST_BLOBS:
        raise ImageError(f"copying {where}: it has {len(listed)} layers, more than {_MOST_BLOBS}")
    blobs = [_descriptor(item, where) for item in listed]
    return [blobs[0], *(blob for blob in blobs[1:] if not any(mark in blob.media_type for mark in _FOREIGN))]


def _descriptor(item: Any, where: str) -> Descriptor:
    size = item.get("size") if isinstance(item, dict) else None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise ImageError(f"copying {where}: its manifest is malformed")
    return Descriptor(digest_hex(item.get("digest"), f"copying {where}"), size, str(item.get("mediaType") or ""))
