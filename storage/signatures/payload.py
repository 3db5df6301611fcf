"""What a signature says: that an image of this digest goes by that name.

The JSON of simple signing (containers-signature(5)) and of cosign's SIGNATURE_SPEC differ by `type` alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SIGSTORE_TYPE = "cosign container image signature"
GPG_TYPE = "atomic container signature"


@dataclass(frozen=True, slots=True)
class Payload:
    """`digest` of the manifest, with its algorithm; `reference` as it was signed."""

    digest: str
    reference: str


def make_payload(digest: str, reference: str, when: int) -> bytes:
    """The payload of a sigstore signature made at `when`, in Unix seconds."""
    return json.dumps(
        {
            "critical": {
                "identity": {"docker-reference": reference},
                "image": {"docker-manifest-digest": digest},
                "type": SIGSTORE_TYPE,
            },
            "optional": {"creator": "rootless", "timestamp": when},
        },
        separators=(",", ":"),
    ).encode()


def parse_payload(data: bytes, kind: str) -> Payload:
    """Read a payload whose type is `kind`, exactly: nothing missing, nothing more, nothing twice. Raises ValueError."""
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    whole = _fields(found, ("critical", "optional"))
    if whole["optional"] is not None:
        _check_optional(whole["optional"])
    critical = _fields(whole["critical"], ("identity", "image", "type"))
    if critical["type"] != kind:
        raise ValueError(f"it is of the type {str(critical['type'])[:60]!r}, not {kind!r}")
    digest = _fields(critical["image"], ("docker-manifest-digest",))["docker-manifest-digest"]
    reference = _fields(critical["identity"], ("docker-reference",))["docker-reference"]
    if not isinstance(digest, str) or not isinstance(reference, str):
        raise ValueError("its digest or its name is not a text")
    return Payload(digest, reference)


def _check_optional(optional: object) -> None:
    if not isinstance(optional, dict):
        raise ValueError("its optional part is not an object")
    if not isinstance(optional.get("creator", ""), str):
        raise ValueError("its creator is not a text")
    stamp = optional.get("timestamp", 0)
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or stamp != stamp // 1:
        raise ValueError("its time is not a whole number")


def _fields(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ValueError(f"an object of {', '.join(names)} and nothing else was expected")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
