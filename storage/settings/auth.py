"""Credentials for registries: auth.json (containers-auth.json(5)), Docker's config.json, credential helpers.

Files, the first that knows the registry wins: --authfile or $REGISTRY_AUTH_FILE alone, else
$XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, ~/.docker/config.json, ~/.dockercfg.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rootless.errors import NotFoundError, RegistryError, StorageError, UsageError
from rootless.kernel.fifos import open_to_read
from storage.references import DEFAULT_DOMAIN
from storage.settings.files import home, user_directory

FILES = "containers-auth.json"  # what registries.conf calls the files, beside the names of helpers
HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 60
_NOT_FOUND = ("credentials not found", "no credentials")
_HUB = (DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Name and password, or an identity token (OAuth2 refresh token) in the place of both. `source` is for messages."""

    user: str
    password: str
    identity_token: str = ""
    source: str = ""

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, source={self.source!r})"  # secrets stay out of tracebacks


def from_option(text: str) -> Credentials:
    """--creds USER[:PASSWORD]; the password is asked for on the terminal where it is missing. Raises UsageError."""
    user, colon, password = text.partition(":")
    if not user:
        raise UsageError("--creds: there is no user name", "write --creds USER:PASSWORD")
    if not colon:
        import getpass
        import sys

        if not sys.stdin.isatty():
            raise UsageError("--creds: there is no password, and no terminal to ask for it", "write USER:PASSWORD")
        password = getpass.getpass(f"Password for {user}: ")
    return Credentials(user, password, source="--creds")


def find_credentials(
    name: str, authfile: str | None = None, helpers: Sequence[str] | None = None
) -> Credentials | None:
    """Credentials for the repository `name` ("quay.io/team/app"), or None to ask as nobody.

    In one file the longest of "host/namespace/repository", "host/namespace", "host" decides. `helpers`: the setting
    credential-helpers of registries.conf. Raises NotFoundError for a missing `authfile`, StorageError for damaged
    files, RegistryError where a helper fails.
    """
    named = authfile or os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        content = read_file(named)
        if content is None:
            raise NotFoundError(f"reading credentials from {named}: there is no such file")
        return _in_file(content, name, named)
    host = name.partition("/")[0]
    for helper in helpers or [FILES]:
        if helper == FILES:
            found = _in_files(name)
        else:
            found = _ask_helper(helper, host, host)
        if found:
            return found
    return None


def files() -> list[str]:
    """The files in which credentials are looked for, in this order."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    docker = os.environ.get("DOCKER_CONFIG") or home() + "/.docker"
    found = [runtime + "/containers/auth.json"] if os.path.isabs(runtime) else []
    return [*found, user_directory() + "/auth.json", docker + "/config.json", home() + "/.dockercfg"]


def _in_files(name: str) -> Credentials | None:
    for path in files():
        content = read_file(path)
        if content is not None:
            found = _in_file(content, name, path)
            if found:
                return found
    return None


def server_of(host: str) -> str:
    """What Docker's files and helpers call a registry: Docker Hub by its old URL."""
    return HUB_KEY if host in _HUB else host


def read_file(path: str) -> dict[str, Any] | None:
    """The file as one of the kind of auth.json, None where there is none. Raises StorageError for a damaged one."""
    try:
        with open(path, "rb", opener=open_to_read) as file:
            content = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise StorageError(f"reading credentials from {path}: permission denied") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"reading credentials from {path}: {error}", "mend the file, or remove it") from None
    if not isinstance(content, dict):
        raise StorageError(f"reading credentials from {path}: it is not a JSON object", "mend the file, or remove it")
    return {"auths": content} if path.endswith(".dockercfg") else content


def _in_file(content: dict[str, Any], name: str, path: str) -> Credentials | None:
    auths = table(content, "auths", path)
    helpers = table(content, "credHelpers", path)
    host = name.partition("/")[0]
    keys = keys_of(name)
    for key in keys:
        helper = helpers.get(key)
        if isinstance(helper, str) and helper:
            found = _ask_helper(helper, key, host)
            if found:
                return found
    normal = {host_of_key(key): entry for key, entry in auths.items()}
    for key in keys:
        entry = normal.get(key)
        if isinstance(entry, dict):
            found = _from_entry(entry, f"{path} ({key})")
            if found:
                return found
    store = content.get("credsStore")
    if isinstance(store, str) and store:
        return _ask_helper(store, server_of(host), host)
    return None


def keys_of(name: str) -> list[str]:
    """ "host/a/b", "host/a", "host": the most particular first."""
    found = []
    while name:
        found.append(name)
        name = name.rpartition("/")[0]
    if found[-1] in _HUB:
        found += [host for host in _HUB if host not in found]
    return found


def host_of_key(key: str) -> str:
    """Docker's old keys are URLs: "https://index.docker.io/v1/" is the host alone; paths of ours are kept."""
    for scheme in ("https://", "http://"):
        if key.startswith(scheme):
            return key.removeprefix(scheme).partition("/")[0]
    return key.rstrip("/")


def _from_entry(entry: dict[str, Any], source: str) -> Credentials | None:
    token = entry.get("identitytoken")
    token = token if isinstance(token, str) else ""
    encoded = entry.get("auth")
    if isinstance(encoded, str) and encoded:
        try:
            plain = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise StorageError(f'reading credentials from {source}: "auth" is not base64', "log in again") from None
        user, colon, password = plain.partition(":")
        if not colon:
            raise StorageError(f'reading credentials from {source}: "auth" is not user:password', "log in again")
        return Credentials(user, password.rstrip("\0"), token, source)
    name, secret = entry.get("username"), entry.get("password")
    if isinstance(name, str) and isinstance(secret, str) and name:
        return Credentials(name, secret, token, source)
    return Credentials("", "", token, source) if token else None


def run_helper(helper: str, action: str, text: str, what: str) -> str | None:
    """docker-credential-<helper> `action`, with `text` on its standard input; its standard output, or None where it
    says that there are no such credentials. Raises RegistryError, beginning with `what`."""
    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise RegistryError(f"{what}: that is a path, not the name of a helper")
    try:
        done = subprocess.run(
            [program, action], input=text, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
    except (FileNotFoundError, PermissionError):  # the second also where a folder of PATH is closed to us
        raise RegistryError(
            f"{what}: {program} is not installed", "install it, or remove it from the configuration"
        ) from None
    except subprocess.TimeoutExpired:
        raise RegistryError(f"{what}: no answer within {_HELPER_SECONDS} s") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{what}: {error}") from None
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip())[:200]
        if any(text in said.lower() for text in _NOT_FOUND):
            return None
        raise RegistryError(f"{what}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _ask_helper(helper: str, server: str, host: str) -> Credentials | None:
    """docker-credential-<helper> get: the server on standard input, JSON on standard output."""
    program = f"docker-credential-{helper}"
    what = f"asking {program} for the credentials of {host}"
    found = run_helper(helper, "get", server, what)
    if found is None:
        return None
    try:
        answer = json.loads(found)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"{what}: its answer is not what the protocol says") from None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise RegistryError(f"{what}: its answer is not what the protocol says")
    if user == "<token>":
        return Credentials("", "", secret, program)
    return Credentials(user, secret, source=program)


def table(content: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    """The object `key` of a file; {} where there is none. Raises StorageError."""
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise StorageError(f"reading credentials from {path}: {key} is not an object", "mend the file, or remove it")
    return value
