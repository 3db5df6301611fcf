"""Keys of sigstore signatures: ECDSA and RSA (PKCS #1 v1.5) over SHA-256, Ed25519; private ones as cosign keeps them.

Of a private key nothing is ever part of an error.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any

from rootless.errors import RegistryError, RootlessError, UsageError
from rootless.jsontext import loads
from rootless.kernel.fifos import open_to_read
from storage.signatures.needs import need

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    PublicKey = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey
    PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey

LARGEST_KEY = 1 << 20  # bytes of a key file
_ENCRYPTED = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_MOST_MEMORY = 256 << 20  # of scrypt; cosign's parameters take 64 MiB


def read_public_key(data: bytes, source: str) -> PublicKey:
    """A public key in PEM; `source` names it in errors. Raises RegistryError, RootlessError (library missing)."""
    what = f"reading the public key {source}"
    need("cryptography", "cryptography", what)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise RegistryError(f"{what}: it is not a public key in PEM", "cosign.pub is one") from None
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return key
    raise RegistryError(f"{what}: it is not a key of ECDSA, RSA or Ed25519")


def verifies(key: PublicKey, signature: bytes, payload: bytes) -> bool:
    """Whether `signature` was made with the private half of `key` for exactly this payload."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def sign(key: PrivateKey, payload: bytes) -> bytes:
    """A signature that `verifies` accepts."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(payload, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(payload)


def read_private_key(path: str, passphrase: bytes | None) -> PrivateKey:
    """A private key: cosign's and skopeo's encrypted form, or PEM (PKCS #8, PKCS #1, SEC 1), encrypted or not.

    Raises UsageError where the file or the passphrase is wrong; RootlessError where a library is missing.
    """
    what = f"reading the private key {path}"
    need("cryptography", "cryptography", what)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    data = read_key_file(path, UsageError)
    box = _armoured(data)
    key: Any
    try:
        if box is not None:
            key = load_der_private_key(_open_box(box, passphrase, what), None)
        else:
            key = load_pem_private_key(data, passphrase)
    except TypeError:
        if passphrase:
            raise UsageError(f"{what}: it is not encrypted, and there is a passphrase") from None
        raise _passphrase_needed(what) from None
    except (ValueError, UnsupportedAlgorithm):
        if passphrase:
            raise UsageError(f"{what}: the passphrase is wrong, or the file is not a private key") from None
        raise UsageError(f"{what}: it is not a private key in PEM") from None
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise UsageError(f"{what}: it is not a key of ECDSA, RSA or Ed25519")


def read_key_file(path: str, kind: type[RootlessError]) -> bytes:
    """The bytes of a key file; raises `kind`."""
    try:
        with open(path, "rb", opener=open_to_read) as file:
            return file.read(LARGEST_KEY)
    except OSError as error:
        raise kind(f"reading the key {path}: {error.strerror}") from None


def _armoured(data: bytes) -> bytes | None:
    """What is inside the PEM of an encrypted key of sigstore's own kind, or None where it is another."""
    text = data.decode("ascii", "replace")
    for label in _ENCRYPTED:
        begin, end = f"-----BEGIN {label}-----", f"-----END {label}-----"
        if begin in text and end in text:
            try:
                return base64.b64decode(text.partition(begin)[2].partition(end)[0])
            except binascii.Error:
                return b""
    return None


def _open_box(box: bytes, passphrase: bytes | None, what: str) -> bytes:
    """Decrypt {"kdf": scrypt, "cipher": nacl/secretbox, "ciphertext"} (go-securesystemslib, encrypted)."""
    if passphrase is None:
        raise _passphrase_needed(what)
    secret = need("nacl.secret", "PyNaCl", what)
    exceptions = need("nacl.exceptions", "PyNaCl", what)
    try:
        found = loads(box)
        kdf, cipher = found["kdf"], found["cipher"]
        names = (kdf["name"], cipher["name"])
        factors = [kdf["params"][name] for name in ("N", "r", "p")]
        salt, nonce, sealed = (base64.b64decode(part) for part in (kdf["salt"], cipher["nonce"], found["ciphertext"]))
    except (ValueError, LookupError, TypeError):
        raise UsageError(f"{what}: it is damaged") from None
    if names != ("scrypt", "nacl/secretbox"):
        raise UsageError(f"{what}: it is encrypted in an unknown way ({names[0]!s:.40}, {names[1]!s:.40})")
    if not all(isinstance(factor, int) and 0 < factor < 1 << 24 for factor in factors):
        raise UsageError(f"{what}: it is damaged")
    n, r, p = factors
    try:
        key = hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=32)
    except (ValueError, MemoryError):
        raise UsageError(f"{what}: its key derivation asks for too much ({n}, {r}, {p})") from None
    try:
        plain: bytes = secret.SecretBox(key).decrypt(sealed, nonce)
    except (exceptions.CryptoError, ValueError, TypeError):
        raise UsageError(f"{what}: the passphrase is wrong, or the file is damaged") from None
    return plain


def _passphrase_needed(what: str) -> UsageError:
    return UsageError(f"{what}: it is encrypted", "--sign-passphrase-file FILE gives the passphrase")
