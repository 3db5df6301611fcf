"""Makers of keys and of signatures in cosign's formats, independent of the product's."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import nacl.secret
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.layers import Packed
from tests.support.registry import Registry

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data


def plain_pem(key: Any, passphrase: bytes | None = None) -> bytes:
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    data: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return data


def encrypted_pem(key: Any, passphrase: bytes, kind: str = "sigstore", n: int = 1 << 15, claimed: int = 0) -> bytes:
    """As `cosign generate-key-pair` and `skopeo generate-sigstore-key` write it. `claimed`: an N that it was not made
    with."""
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    salt, nonce = os.urandom(32), os.urandom(24)
    derived = hashlib.scrypt(passphrase, salt=salt, n=n, r=8, p=1, maxmem=1 << 27, dklen=32)
    box = {
        "kdf": {"name": "scrypt", "params": {"N": claimed or n, "r": 8, "p": 1}, "salt": _text(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _text(nonce)},
        "ciphertext": _text(nacl.secret.SecretBox(derived).encrypt(der, nonce).ciphertext),
    }
    label = f"ENCRYPTED {kind.upper()} PRIVATE KEY"
    body = base64.encodebytes(json.dumps(box).encode()).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


def payload_for(digest: str, reference: str, **critical: Any) -> bytes:
    """What cosign signs."""
    whole = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": {**whole, **critical}, "optional": None}, separators=(",", ":")).encode()


def signature_of(key: ec.EllipticCurvePrivateKey, payload: bytes) -> str:
    return _text(key.sign(payload, ec.ECDSA(hashes.SHA256())))


def push_signatures(registry: Registry, repository: str, digest: str, signed: list[tuple[bytes, str]]) -> None:
    """Put payloads with their signatures where cosign puts them: into the tag sha256-<hex>.sig of the repository."""
    blobs = [Packed(payload, PAYLOAD) for payload, _ in signed]
    described = {
        "architecture": "",
        "config": {},
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in blobs]},
    }
    config = Packed(json.dumps(described).encode(), "application/vnd.oci.image.config.v1+json")
    for blob in (config, *blobs):
        registry.push_blob(repository, blob)
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [
            blob.descriptor(annotations={ANNOTATION: signature})
            for blob, (_, signature) in zip(blobs, signed, strict=True)
        ],
    }
    tag = digest.replace(":", "-") + ".sig"
    registry.push_manifest(repository, tag, json.dumps(manifest).encode(), media_type)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
