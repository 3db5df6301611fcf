"""The requirements of a policy.json, read strictly: what is not understood is refused, never passed over."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from storage.settings.identity import Identity, parse_identity

SIGSTORE = "sigstoreSigned"
GPG = "signedBy"
_NOT_HERE = {
    "fulcio": "certificates of Fulcio",
    "pki": "certificates of an authority",
    "rekorPublicKeyPath": "entries in the log of Rekor",
    "rekorPublicKeyPaths": "entries in the log of Rekor",
    "rekorPublicKeyData": "entries in the log of Rekor",
    "rekorPublicKeyDatas": "entries in the log of Rekor",
}


@dataclass(frozen=True, slots=True)
class Reject:
    """No image is let in."""


@dataclass(frozen=True, slots=True)
class Signed:
    """One of the keys must have signed. `kind`: SIGSTORE or GPG; keys lie in `paths` or, instead, are `data`.
    `unsupported` says what else is wanted that cannot be checked here, or is ""."""

    kind: str
    paths: tuple[str, ...]
    data: tuple[bytes, ...]
    identity: Identity
    unsupported: str = ""


def parse_requirement(item: object) -> Reject | Signed | None:
    """One element of a list of requirements; None: anything is accepted. Raises ValueError."""
    if not isinstance(item, dict):
        raise ValueError("a requirement is not a JSON object")
    kind = item.get("type")
    if kind in ("reject", "insecureAcceptAnything"):
        _only(item, {"type"})
        return Reject() if kind == "reject" else None
    if kind == SIGSTORE:
        known = {"keyPath", "keyPaths", "keyData", "keyDatas", *_NOT_HERE}
    elif kind == GPG:
        known = {"keyPath", "keyPaths", "keyData", "keyType"}
        if item.get("keyType") != "GPGKeys":
            raise ValueError(f"{str(item.get('keyType'))[:40]!r} is not a keyType that is known; GPGKeys is")
    else:
        raise ValueError(f"{str(kind)[:40]!r} is not a type of requirement")
    _only(item, known | {"type", "signedIdentity"})
    unsupported = next((words for key, words in _NOT_HERE.items() if key in item), "")
    paths, data = _keys(item, optional=bool(unsupported))
    return Signed(kind, paths, data, parse_identity(item.get("signedIdentity")), unsupported)


def _keys(item: dict[str, Any], optional: bool) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    given = [key for key in ("keyPath", "keyPaths", "keyData", "keyDatas") if key in item]
    if len(given) != 1:
        if optional and not given:
            return (), ()
        raise ValueError("exactly one of keyPath, keyPaths, keyData and keyDatas is needed")
    value = item[given[0]]
    values = value if given[0].endswith("s") else [value]
    if not isinstance(values, list) or not values or not all(isinstance(text, str) and text for text in values):
        raise ValueError(f"{given[0]} is not what it should be")
    if given[0].startswith("keyPath"):
        return tuple(values), ()
    try:
        return (), tuple(base64.b64decode(text, validate=True) for text in values)
    except binascii.Error:
        raise ValueError(f"{given[0]} is not base64") from None


def _only(item: dict[str, Any], known: set[str]) -> None:
    unknown = item.keys() - known
    if unknown:
        raise ValueError(f"{sorted(unknown)[0][:40]!r} is not known in a requirement of the type {item['type']}")
