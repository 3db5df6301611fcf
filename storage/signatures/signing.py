"""Making sigstore signatures, and putting them beside an image in its registry."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rootless.errors import RegistryError, UsageError
from storage.references import Reference
from storage.settings.policy import docker_scopes
from storage.signatures.attachments import MOST, PAYLOAD_TYPE, SIGNATURE_KEY, Attachment, read_attachments, tag_of
from storage.signatures.keys import read_key_file, read_private_key, sign
from storage.signatures.payload import make_payload
from storage.signatures.registries_d import directory, read_directory

if TYPE_CHECKING:
    from storage.registry.client import Client
    from storage.registry.upload import Uploader
    from storage.signatures.keys import PrivateKey

_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs what is pushed."""

    key: PrivateKey

    def check_place(self, target: Reference) -> None:
        """Raises RegistryError where registries.d says that no signatures are to lie beside the images of `target`."""
        if read_directory().places(docker_scopes(target)).attachments is False:
            raise RegistryError(
                f"pushing {target}: it is to be signed, and no signatures may lie beside it",
                f"use-sigstore-attachments is false for it in {directory()}",
            )

    def sign(self, client: Client, uploader: Uploader, target: Reference, digests: Sequence[str], where: str) -> None:
        """Sign the manifests `digests` ("sha256:...") for the name `target`; signatures that are there stay.

        `client` and `uploader` are those of the repository; the client is closed. Raises RegistryError, ImageError.
        """
        try:
            for digest in dict.fromkeys(digests):
                self._sign(client, uploader, target, digest, where)
        finally:
            client.close()

    def _sign(self, client: Client, uploader: Uploader, target: Reference, digest: str, where: str) -> None:
        name = f"{target.name}@{target.digest}" if target.digest else target.tagged
        payload = make_payload(digest, name, int(time.time()))
        signature = base64.b64encode(sign(self.key, payload)).decode()
        there = read_attachments(client, digest, where)
        if len(there) >= MOST:
            raise RegistryError(f"{where}: there are {len(there)} signatures already")
        _write(uploader, [*there, Attachment(PAYLOAD_TYPE, payload, {SIGNATURE_KEY: signature})], digest)


def read_signer(path: str, passphrase_file: str | None) -> Signer:
    """The signer whose private key is in the file `path`; the passphrase is the first line of the other file.
    Raises UsageError; RootlessError where a library is missing."""
    passphrase = None
    if passphrase_file is not None:
        passphrase = read_key_file(passphrase_file, UsageError).partition(b"\n")[0].removesuffix(b"\r")
    return Signer(read_private_key(path, passphrase))


def _write(uploader: Uploader, attachments: list[Attachment], digest: str) -> None:
    """Payloads and their configuration first, then the manifest that names them."""
    from storage.documents.manifests import OCI_MANIFEST
    from storage.registry.upload import Bytes

    layers = []
    for attachment in attachments:
        found = hashlib.sha256(attachment.payload).hexdigest()
        uploader.send(Bytes(attachment.payload, found), (), lambda count: None)
        layers.append(
            {
                "mediaType": attachment.media_type,
                "digest": f"sha256:{found}",
                "size": len(attachment.payload),
                "annotations": attachment.annotations,
            }
        )
    described = {
        "architecture": "",
        "config": {},
        "created": "1970-01-01T00:00:00Z",
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    config = json.dumps(described, separators=(",", ":")).encode()
    config_digest = hashlib.sha256(config).hexdigest()
    uploader.send(Bytes(config, config_digest), (), lambda count: None)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": _CONFIG_TYPE, "digest": f"sha256:{config_digest}", "size": len(config)},
        "layers": layers,
    }
    uploader.put_manifest(json.dumps(manifest, separators=(",", ":")).encode(), OCI_MANIFEST, tag_of(digest))
