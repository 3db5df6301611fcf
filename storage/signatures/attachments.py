"""Sigstore signatures that lie beside an image in its registry, as cosign and containers/image put them there.

The tag sha256-<hex>.sig names an OCI manifest; each of its layers is a payload, with the signature as annotation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rootless.errors import ImageError, NotFoundError
from rootless.jsontext import loads
from storage.documents.config import digest_hex

if TYPE_CHECKING:
    from storage.registry.client import Client

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_KEY = "dev.cosignproject.cosign/signature"
MOST = 128  # signatures of one image
LARGEST = 4 << 20  # bytes of one payload


@dataclass(frozen=True, slots=True)
class Attachment:
    """One layer of a signature manifest: its media type, what was signed, and its annotations."""

    media_type: str
    payload: bytes
    annotations: dict[str, str] = field(default_factory=dict)


def tag_of(digest: str) -> str:
    """The tag of the signatures of the manifest `digest` ("sha256:...")."""
    return digest.replace(":", "-", 1) + ".sig"


def read_attachments(client: Client, digest: str, where: str) -> list[Attachment]:
    """All signatures that the registry has for a manifest. Raises ImageError, RegistryError."""
    from storage.documents.manifests import OCI_MANIFEST, Descriptor

    try:
        raw = client.manifest(tag_of(digest))
    except NotFoundError:
        return []
    what = f"{where}: reading its signatures ({tag_of(digest)})"
    try:
        found = loads(raw.data)
    except ValueError as error:
        raise ImageError(f"{what}: they are not JSON: {error}") from None
    layers = found.get("layers") if isinstance(found, dict) else None
    kind = found.get("mediaType", raw.media_type.partition(";")[0]) if isinstance(found, dict) else ""
    if kind != OCI_MANIFEST or not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ImageError(f"{what}: that is not a manifest of OCI but {str(kind)[:80]!r}")
    if len(layers) > MOST:
        raise ImageError(f"{what}: there are {len(layers)}, more than {MOST}")
    attachments = []
    for layer in layers:
        annotations, media_type, size = layer.get("annotations") or {}, layer.get("mediaType"), layer.get("size")
        if not isinstance(annotations, dict) or not isinstance(media_type, str) or not isinstance(size, int):
            raise ImageError(f"{what}: one of them is malformed")
        if not 0 <= size <= LARGEST:
            raise ImageError(f"{what}: one of them has {size} bytes")
        payload = client.document(Descriptor(digest_hex(layer.get("digest"), what), size, media_type), "signature")
        attachments.append(Attachment(media_type, payload, annotations))
    return attachments
