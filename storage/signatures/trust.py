"""The policy as a table, and changes to it: what `image trust` shows and sets."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from rootless.errors import NotFoundError, StorageError, UsageError
from storage.references import parse
from storage.settings.policy import DOCKER, checked_policy, docker_scopes, find_file, user_file
from storage.signatures.registries_d import RegistriesD, default_lookaside, read_directory

ACCEPT, REJECT, GPG, SIGSTORE = "accept", "reject", "signedBy", "sigstoreSigned"
TYPES = (GPG, SIGSTORE, ACCEPT, REJECT)
_WRITTEN = {ACCEPT: "insecureAcceptAnything", REJECT: "reject"}
_SHOWN = {"insecureAcceptAnything": ACCEPT, "reject": REJECT, GPG: "signed"}
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class TrustRow:
    """One requirement of one entry, in Podman's words: `transport` "all", "repository" or another one, `scope` as in
    the policy ("default" for its default), `kind`, `keys` (what is known of them), `store` (where signatures lie)."""

    transport: str
    scope: str
    kind: str
    keys: str
    store: str


def read_trust(registry: str | None = None) -> list[TrustRow]:
    """All entries of the policy that counts; with `registry` (the name of an image, too) the one that decides for it.

    Raises StorageError, UsageError; without a policy everything is accepted.
    """
    path = find_file()
    policy: dict[str, Any] = checked_policy(path) if path else {"default": [{"type": "insecureAcceptAnything"}]}
    places = read_directory()
    rows = _rows("all", _DEFAULT, policy["default"], places)
    transports = dict(policy.get("transports", {}))
    docker = transports.pop(DOCKER, {})
    if registry is not None:
        scope = next((scope for scope in [*_scopes_of(registry), ""] if scope in docker), None)
        return rows if scope is None else _rows("repository", scope, docker[scope], places)
    for scope in sorted(docker):
        rows += _rows("repository", scope, docker[scope], places)
    for transport in sorted(transports):
        for scope in sorted(transports[transport]):
            rows += _rows(transport, scope, transports[transport][scope], places)
    return rows


def set_trust(scope: str, kind: str, keys: list[str]) -> str:
    """Make `kind` (one of TYPES) what the user's policy.json asks of the images of `scope`, "default" for all others,
    and return the file's path. All of `keys`, files, must have signed.

    The user's file begins as a copy of the machine's. Raises UsageError, NotFoundError, StorageError.
    """
    _check_scope(scope)
    if bool(keys) != (kind in (GPG, SIGSTORE)):
        wanted = "needs the public keys" if kind in (GPG, SIGSTORE) else "has no public keys"
        raise UsageError(f"--type {kind} {wanted}", "--pubkeysfile FILE")
    for key in keys:
        if not os.path.isfile(key):
            raise NotFoundError(f"setting the policy for {scope}: there is no key {key}")
    found = find_file()
    policy: dict[str, Any] = checked_policy(found) if found else {"default": [{"type": "insecureAcceptAnything"}]}
    requirements = [_requirement(kind, os.path.abspath(key)) for key in keys or [""]]
    if scope == _DEFAULT:
        policy["default"] = requirements
    else:
        policy.setdefault("transports", {}).setdefault(DOCKER, {})[scope] = requirements
    path = user_file()
    _replace(path, json.dumps(policy, indent=4) + "\n")
    return path


def _rows(transport: str, scope: str, requirements: list[Any], places: RegistriesD) -> list[TrustRow]:
    found = places.places([scope] if transport == "repository" else [])
    store = "" if found.lookaside == default_lookaside() else found.lookaside
    rows = []
    for requirement in requirements:
        kind = str(requirement.get("type"))
        keys = "N/A" if kind == SIGSTORE else _owners(requirement) if kind == GPG else ""
        rows.append(TrustRow(transport, scope, _SHOWN.get(kind, kind), keys, "" if kind == SIGSTORE else store))
    return rows


def _owners(requirement: dict[str, Any]) -> str:
    """Who the GPG keys of a requirement belong to, with commas between; their files where gpg cannot tell."""
    import base64

    from rootless.errors import RootlessError
    from storage.signatures.gpg import owners
    from storage.signatures.keys import read_key_file

    paths = requirement.get("keyPaths") or [requirement.get("keyPath")]
    try:
        if requirement.get("keyData"):
            return ", ".join(owners(base64.b64decode(requirement["keyData"])))
        return ", ".join(owner for path in paths for owner in owners(read_key_file(path, StorageError)) or [path])
    except RootlessError:
        return ", ".join(str(path) for path in paths)


def _scopes_of(registry: str) -> list[str]:
    """Scopes for a registry, a namespace or an image."""
    if "/" in registry:
        return [registry, *docker_scopes(parse(registry))]
    host = registry.partition(":")[0]
    domains = [host.split(".", count)[-1] for count in range(1, host.count(".") + 1)]
    return [registry, *(f"*.{domain}" for domain in domains)]


def _requirement(kind: str, key: str) -> dict[str, str]:
    if kind in _WRITTEN:
        return {"type": _WRITTEN[kind]}
    return {"type": kind, **({"keyType": "GPGKeys"} if kind == GPG else {}), "keyPath": key}


def _check_scope(scope: str) -> None:
    if scope == _DEFAULT:
        return
    if not scope.isascii() or not scope.isprintable() or "://" in scope or not scope.strip() or " " in scope:
        raise UsageError(f"{scope[:80]!r} is not the name of a registry or of its images", "quay.io/team is one")


def _replace(path: str, text: str) -> None:
    draft = f"{path}.{os.urandom(4).hex()}.partial"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(draft, "x") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
    except OSError as error:
        try:
            os.unlink(draft)
        except OSError:
            pass
        raise StorageError(f"writing {path}: {error.strerror}") from None
