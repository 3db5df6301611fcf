"""registries.d/*.yaml (containers-registries.d(5)): where the signatures of an image lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rootless.errors import StorageError
from storage.settings.files import home, user_directory
from storage.signatures.needs import need

SYSTEM_DIRECTORY = "/etc/containers/registries.d"
_URLS = ("lookaside", "lookaside-staging", "sigstore", "sigstore-staging")
_SWITCH = "use-sigstore-attachments"


@dataclass(frozen=True, slots=True)
class Places:
    """`lookaside`: the URL below which GPG signatures lie; `attachments`: whether sigstore's lie in the registry, None
    where no file says."""

    lookaside: str
    attachments: bool | None


@dataclass(slots=True)
class RegistriesD:
    """All files merged: `default` and entries by the same scopes as in policy.json."""

    default: dict[str, Any]
    entries: dict[str, dict[str, Any]]

    def places(self, scopes: list[str]) -> Places:
        """What the most particular entry says for each question; `scopes` as `policy.docker_scopes` gives them."""
        found = [self.entries[scope] for scope in scopes if scope in self.entries] + [self.default]
        lookaside = next((url for entry in found if (url := entry.get("lookaside") or entry.get("sigstore"))), None)
        attachments = (entry.get(_SWITCH) for entry in found)
        return Places(lookaside or default_lookaside(), next((a for a in attachments if a is not None), None))


def default_lookaside() -> str:
    """Where signatures lie when no file says: the user's own place, as with Podman."""
    return f"file://{home()}/.local/share/containers/sigstore"


def directory() -> str:
    """The user's directory where there is one, else the machine's."""
    user = user_directory() + "/registries.d"
    return user if os.path.isdir(user) else SYSTEM_DIRECTORY


def read_directory() -> RegistriesD:
    """Read all of it. Raises StorageError, naming the file; RootlessError where PyYAML is missing."""
    place = directory()
    merged = RegistriesD({}, {})
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith(".yaml"))
    except (FileNotFoundError, NotADirectoryError):
        return merged
    except OSError as error:
        raise StorageError(f"reading {place}: {error.strerror}") from None
    sources: dict[str, str] = {}
    for name in names:
        path = f"{place}/{name}"
        for scope, entry in _read(path).items():
            if scope in sources:
                raise _damaged(path, f"{scope or 'default-docker'} is set in {sources[scope]} already")
            sources[scope] = path
            if scope:
                merged.entries[scope] = entry
            else:
                merged.default = entry
    return merged


def _read(path: str) -> dict[str, dict[str, Any]]:
    """The entries of one file by scope, "" for default-docker."""
    yaml = need("yaml", "PyYAML", f"reading {path}")
    try:
        with open(path, "rb") as file:
            found = yaml.safe_load(file.read())
    except OSError as error:
        raise StorageError(f"reading {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _damaged(path, "it is not an object of default-docker and docker")
    scopes = found.get("docker") or {}
    if not isinstance(scopes, dict):
        raise _damaged(path, "docker is not an object")
    entries = {str(scope): entry or {} for scope, entry in scopes.items()}
    if "" in entries:
        raise _damaged(path, 'an entry for "" is not possible; default-docker is meant for that')
    if found.get("default-docker") is not None:
        entries[""] = found["default-docker"]
    for scope, entry in entries.items():
        _check(entry, f"the entry for {scope or 'default-docker'}", path)
    return entries


def _check(entry: object, called: str, path: str) -> None:
    if not isinstance(entry, dict):
        raise _damaged(path, f"{called} is not an object")
    if not isinstance(entry.get(_SWITCH, False), bool):
        raise _damaged(path, f"{_SWITCH} of {called} is not true or false")
    for key in _URLS:
        value = entry.get(key, "file:///")
        if not isinstance(value, str) or urlsplit(value).scheme not in ("file", "http", "https"):
            raise _damaged(path, f"{key} of {called} is not a URL of file, http or https")


def _damaged(path: str, why: str) -> StorageError:
    return StorageError(f"reading {path}: {why}", "see man 5 containers-registries.d")
