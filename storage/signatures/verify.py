"""Whether the signatures of an image satisfy a policy: every requirement needs one signature that it accepts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rootless.errors import RegistryError
from storage.references import Reference
from storage.settings.policy import Verdict, docker_scopes
from storage.settings.requirement import SIGSTORE, Signed
from storage.signatures.payload import GPG_TYPE, SIGSTORE_TYPE, parse_payload
from storage.signatures.registries_d import directory, read_directory

if TYPE_CHECKING:
    from storage.registry.client import Client
    from storage.signatures.attachments import Attachment
    from storage.signatures.keys import PublicKey


class Examination:
    """One image at one place: `pulled` is its name as the user means it, `digest` that of its manifest (of the image,
    not of an index above it), `client` its repository."""

    def __init__(self, verdict: Verdict, pulled: Reference, digest: str, client: Client, where: str) -> None:
        self._verdict = verdict
        self._pulled = Reference(
            pulled.domain, pulled.path, None if pulled.digest else pulled.tag or "latest", pulled.digest
        )
        self._digest = digest
        self._client = client
        self._where = where
        physical = Reference(client.host, client.repository, self._pulled.tag, self._pulled.digest)
        self._places = read_directory().places(docker_scopes(physical))

    def check(self) -> None:
        """Raises RegistryError unless every requirement of the verdict is met; RootlessError where a library or a
        program is missing that is needed to tell."""
        for requirement in self._verdict.signed:
            if requirement.unsupported:
                raise self._refused(f"wants {requirement.unsupported}, which cannot be checked here")
            if requirement.kind == SIGSTORE:
                self._check_sigstore(requirement)
            else:
                self._check_gpg(requirement)

    def _check_sigstore(self, requirement: Signed) -> None:
        from storage.signatures.attachments import PAYLOAD_TYPE, read_attachments
        from storage.signatures.keys import read_public_key

        keys = [read_public_key(data, source) for source, data in _keys(requirement)]
        if not self._places.attachments:
            raise self._refused(
                "wants a sigstore signature, and none is looked for",
                f"say so in {directory()}/NAME.yaml:\n    docker:\n        {self._client.host}:\n"
                "            use-sigstore-attachments: true",
            )
        found = read_attachments(self._client, self._digest, self._where)
        signatures = [attachment for attachment in found if attachment.media_type == PAYLOAD_TYPE]

        def payload_of(attachment: Attachment) -> bytes:
            return _signed_by_one(attachment, keys)

        self._one_of(signatures, payload_of, SIGSTORE_TYPE, requirement)

    def _check_gpg(self, requirement: Signed) -> None:
        from storage.signatures.gpg import Keyring
        from storage.signatures.lookaside import read_lookaside

        signatures = read_lookaside(self._places.lookaside, self._client.repository, self._digest, self._where)
        if not signatures:
            scheme, _, place = self._places.lookaside.partition("://")
            host, slash, path = place.partition("/")
            shown = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
            raise self._refused(
                f"wants a signature ({requirement.kind}), and there is none", f"they are looked for below {shown}"
            )
        with Keyring([data for _, data in _keys(requirement)], f"{self._where}: checking its signature") as keyring:
            self._one_of(signatures, keyring.signed_content, GPG_TYPE, requirement)

    def _one_of(
        self, signatures: Sequence[Any], payload_of: Callable[[Any], bytes], kind: str, requirement: Signed
    ) -> None:
        """Return where one of the signatures is accepted; `payload_of` verifies it, or raises ValueError."""
        if not signatures:
            raise self._refused(f"wants a signature ({requirement.kind}), and there is none")
        reasons: list[str] = []
        for signature in signatures:
            try:
                payload = parse_payload(payload_of(signature), kind)
                if payload.digest != self._digest:
                    raise ValueError(f"it is for {payload.digest[:80]}, and this is {self._digest}")
                if not requirement.identity.accepts(payload.reference, self._pulled):
                    rule = requirement.identity.kind
                    raise ValueError(f"it is for {payload.reference[:200]!r}, not for this name ({rule})")
            except ValueError as error:
                reasons.append(str(error))
            else:
                return
        told = "; ".join(dict.fromkeys(reasons))
        raise self._refused(f"wants a signature, and of {len(signatures)} none is accepted: {told}")

    def _refused(self, why: str, hint: str | None = None) -> RegistryError:
        entry = f"its entry for {self._verdict.scope}"
        return RegistryError(f"{self._where}: refused: {self._verdict.path} {why}", hint or f"see {entry}")


def _signed_by_one(attachment: Attachment, keys: list[PublicKey]) -> bytes:
    from storage.signatures.attachments import SIGNATURE_KEY
    from storage.signatures.keys import verifies

    text = attachment.annotations.get(SIGNATURE_KEY)
    if not isinstance(text, str):
        raise ValueError("it has no signature")
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("its signature is not base64") from None
    if not any(verifies(key, signature, attachment.payload) for key in keys):
        raise ValueError("it was not made with the policy's key, or what it says has been changed")
    return attachment.payload


def _keys(requirement: Signed) -> list[tuple[str, bytes]]:
    """What is called how, and its bytes, of all keys of a requirement."""
    from storage.signatures.keys import read_key_file

    if requirement.data:
        return [("in the policy", data) for data in requirement.data]
    return [(path, read_key_file(path, RegistryError)) for path in requirement.paths]
