"""policy.json (containers-policy.json(5)): which images may be pulled at all.

Signatures cannot be checked here: what a policy wants signed is refused, not waved through.
"""

from __future__ import annotations

import json
from typing import Any

from rootless.errors import RegistryError, StorageError
from storage.config_files import user_directory
from storage.references import Reference

SYSTEM_FILE = "/etc/containers/policy.json"
_TRANSPORT = "docker"


def check(reference: Reference) -> None:
    """Raises RegistryError where the user's policy.json, or else the machine's, does not let the image in; StorageError
    where the file is damaged. Without a file everything is accepted."""
    for path in (user_directory() + "/policy.json", SYSTEM_FILE):
        policy = _read(path)
        if policy is not None:
            _check(policy, reference, path)
            return


def _check(policy: dict[str, Any], reference: Reference, path: str) -> None:
    scope, requirements = _requirements(policy, reference)
    if not isinstance(requirements, list) or not requirements:
        raise _damaged(path, f"there is no list of requirements for {scope}")
    for requirement in requirements:
        kind = requirement.get("type") if isinstance(requirement, dict) else None
        if kind == "reject":
            raise RegistryError(f"pulling {reference}: refused by {path}", f"its entry for {scope} says reject")
        if kind != "insecureAcceptAnything":
            raise RegistryError(
                f"pulling {reference}: {path} wants its signature checked ({str(kind)[:40]}), which is not supported",
                f"see its entry for {scope}",
            )


def _requirements(policy: dict[str, Any], reference: Reference) -> tuple[str, Any]:
    """The most particular entry that fits, and what it is called."""
    transports = policy.get("transports")
    scopes = transports.get(_TRANSPORT) if isinstance(transports, dict) else None
    if isinstance(scopes, dict):
        for scope in _scopes(reference):
            if scope in scopes:
                return scope or f'"" of {_TRANSPORT}', scopes[scope]
    return "default", policy.get("default")


def _scopes(reference: Reference) -> list[str]:
    """Names of entries from the most to the least particular: image, repository, namespaces, host, *.domains, ""."""
    found = [f"{reference.name}@{reference.digest}" if reference.digest else reference.tagged]
    name = reference.name
    while name:
        found.append(name)
        name = name.rpartition("/")[0]
    host = reference.domain.partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        found.append("*." + host)
    return [*found, ""]


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            policy = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(policy, dict):
        raise _damaged(path, "it is not a JSON object")
    return policy


def _damaged(path: str, why: str) -> StorageError:
    return StorageError(f"reading {path}: {why}", "see man 5 containers-policy.json")
