"""policy.json (containers-policy.json(5)): which images may come in, and which signatures they must have for it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from rootless.errors import RegistryError, StorageError
from rootless.kernel.fifos import open_to_read
from storage.references import Reference
from storage.settings.files import user_directory
from storage.settings.requirement import Reject, Signed, parse_requirement

SYSTEM_FILE = "/etc/containers/policy.json"
DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of one image that it does not reject. `path`: the file (None: there is none), `scope`: what
    its entry is called, `signed`: all that must be signed for; with none the image is accepted."""

    path: str | None = None
    scope: str = ""
    signed: tuple[Signed, ...] = ()


def check(transport: str, scopes: list[str], what: str) -> Verdict:
    """The verdict of the user's policy.json, or else the machine's, on an image of a transport; `scopes` are the names
    of entries that fit it, the most particular first. `what` is being done.

    Raises RegistryError where it is rejected; StorageError where the file is damaged, wherever in it. Without a file
    everything is accepted.
    """
    path = find_file()
    if path is None:
        return Verdict()
    policy = _read(path)
    scope, requirements = _entry(policy, transport, scopes)
    parsed = _parse_all(policy, path)
    found = parsed[id(requirements)]
    if any(isinstance(requirement, Reject) for requirement in found):
        raise RegistryError(f"{what}: refused by {path}", f"its entry for {scope} says reject")
    return Verdict(path, scope, tuple(requirement for requirement in found if isinstance(requirement, Signed)))


def check_unsigned(transport: str, scopes: list[str], what: str) -> None:
    """`check` for transports whose images cannot bring a signature: where one is wanted, RegistryError is raised."""
    verdict = check(transport, scopes, what)
    if verdict.signed:
        raise RegistryError(
            f"{what}: {verdict.path} wants a signature, and images of {transport} have none",
            f"see its entry for {verdict.scope}",
        )


def check_archive(kind: str, path: str, what: str) -> None:
    """`check_unsigned` for what `load` reads: an archive or directory of the kind docker, oci or dir, "-" for standard
    input, which has no place that an entry could name."""
    if kind == "dir":
        transport = kind
    else:
        transport = "oci" if kind == "oci" and os.path.isdir(path) else f"{kind}-archive"
    check_unsigned(transport, [] if path == "-" else path_scopes(transport, path), what)


def docker_scopes(reference: Reference) -> list[str]:
    """Names of entries for an image of a registry: image, repository, namespaces, host, *.domains."""
    found = [f"{reference.name}@{reference.digest}" if reference.digest else reference.tagged]
    name = reference.name
    while name:
        found.append(name)
        name = name.rpartition("/")[0]
    host = reference.domain.partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        found.append("*." + host)
    return found


def path_scopes(transport: str, path: str, name: str = "") -> list[str]:
    """Names of entries for dir, oci and oci-archive: the place (for oci-archive with ":NAME" first), and the
    directories above it but "/". docker-archive has none."""
    if transport == "docker-archive":
        return []
    place = os.path.realpath(path)
    found = [f"{place}:{name}"] if transport == "oci-archive" else []
    while place != "/":
        found.append(place)
        place = os.path.dirname(place)
    return found


def storage_scopes(driver: str, root: str, reference: Reference | None, image_id: str = "") -> list[str]:
    """Names of entries for containers-storage: "[driver@root]name", its namespaces, "[driver@root]", "[root]"."""
    store = f"[{driver}@{root}]"
    found = []
    if reference is not None:
        name = f"{reference.name}@{reference.digest}" if reference.digest else reference.tagged
        found += [f"{store}{name}@{image_id}"] if image_id else []
        found.append(store + name)
        name = reference.name
        while name:
            found.append(store + name)
            name = name.rpartition("/")[0]
    elif image_id:
        found.append(f"{store}@{image_id}")
    return [*found, store, f"[{root}]"]


def find_file() -> str | None:
    """The policy.json that counts, or None."""
    for path in (user_file(), SYSTEM_FILE):
        if os.path.lexists(path):
            return path
    return None


def user_file() -> str:
    return user_directory() + "/policy.json"


def checked_policy(path: str) -> dict[str, Any]:
    """The policy in a file of which everything is understood. Raises StorageError."""
    policy = _read(path)
    _parse_all(policy, path)
    return policy


def _read(path: str) -> dict[str, Any]:
    """The JSON object of a policy file, in which no key occurs twice."""
    try:
        with open(path, "rb", opener=open_to_read) as file:
            policy = json.load(file, object_pairs_hook=_without_repetition)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(policy, dict):
        raise _damaged(path, "it is not a JSON object")
    return policy


def _entry(policy: dict[str, Any], transport: str, scopes: list[str]) -> tuple[str, Any]:
    """The most particular entry that fits, and what it is called."""
    transports = policy.get("transports")
    entries = transports.get(transport) if isinstance(transports, dict) else None
    if isinstance(entries, dict):
        for scope in [*scopes, ""]:
            if scope in entries:
                return scope or f'"" of {transport}', entries[scope]
    return "default", policy.get("default")


def _parse_all(policy: dict[str, Any], path: str) -> dict[int, list[Reject | Signed | None]]:
    """All lists of requirements, read, by the id() of their JSON; what cannot be read anywhere is an error: a typing
    error must not let anything in."""
    unknown = policy.keys() - {"default", "transports"}
    if unknown:
        raise _damaged(path, f"{sorted(unknown)[0][:40]!r} is not known there")
    transports = policy.get("transports", {})
    if not isinstance(transports, dict) or not all(isinstance(scopes, dict) for scopes in transports.values()):
        raise _damaged(path, '"transports" is not an object of objects')
    lists = [("default", policy.get("default"))]
    for transport, scopes in transports.items():
        lists += [(f"{scope!r} of {transport}", requirements) for scope, requirements in scopes.items()]
    parsed = {}
    for scope, requirements in lists:
        if not isinstance(requirements, list) or not requirements:
            raise _damaged(path, f"there is no list of requirements for {scope}")
        try:
            parsed[id(requirements)] = [parse_requirement(requirement) for requirement in requirements]
        except ValueError as error:
            raise _damaged(path, f"{error} (in the entry for {scope})") from None
    return parsed


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice[:40]!r} occurs twice")
    return found


def _damaged(path: str, why: str) -> StorageError:
    return StorageError(f"reading {path}: {why}", "see man 5 containers-policy.json")
