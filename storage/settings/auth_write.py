"""Keeping credentials for registries, and forgetting them: auth.json, Docker's config.json, credential helpers.

What others have written into a file stays; it is replaced as a whole, readable for its owner alone.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from rootless.errors import StorageError, UsageError
from storage.settings.auth import (
    FILES,
    Credentials,
    files,
    host_of_key,
    keys_of,
    read_file,
    run_helper,
    server_of,
    table,
)


def store_credentials(
    name: str,
    credentials: Credentials,
    authfile: str | None = None,
    compat: str | None = None,
    helpers: Sequence[str] | None = None,
) -> str:
    """Keep `credentials` for the registry or namespace `name` ("quay.io", "quay.io/team"); where they are now.

    `authfile`, `compat`: the file to write, the second with the names that Docker uses. `helpers`: the setting
    credential-helpers of registries.conf. Raises StorageError, RegistryError where a helper fails, UsageError.
    """
    _one_file(authfile, compat)
    helper = _configured(authfile or compat, helpers)
    if helper is not None:
        return _give_to_helper(helper, name, credentials)
    path = compat or writable_file(authfile)
    what = f"storing credentials for {name} in {path}"
    if compat and "/" in name:
        raise UsageError(f"{what}: Docker's files know whole registries only", f"rootless login {name.split('/')[0]}")
    content = read_file(path) or {}
    key = server_of(name) if compat else name
    helper = _helper_of(content, key, name, path)
    if helper is not None:
        return _give_to_helper(helper, name, credentials)
    encoded = base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()

    def change(content: dict[str, Any]) -> None:
        auths = table(content, "auths", path)
        content["auths"] = {
            **{old: entry for old, entry in auths.items() if not _is(old, name)},
            key: {"auth": encoded},
        }

    _rewrite(path, what, change)
    return path


def remove_credentials(
    name: str, authfile: str | None = None, compat: str | None = None, helpers: Sequence[str] | None = None
) -> bool:
    """Forget what `store_credentials` has kept for `name`; whether there was anything. Raises as that does."""
    _one_file(authfile, compat)
    helper = _configured(authfile or compat, helpers)
    if helper is not None:
        return _take_from_helper(helper, server_of(name), name)
    path = compat or writable_file(authfile)
    content = read_file(path)
    if content is None:
        return False
    removed = False
    helper = _helper_of(content, server_of(name) if compat else name, name, path)
    if helper is not None:
        removed = _take_from_helper(helper, server_of(name), name)
    if any(_is(key, name) for key in table(content, "auths", path)):

        def change(content: dict[str, Any]) -> None:
            auths = table(content, "auths", path)
            content["auths"] = {key: entry for key, entry in auths.items() if not _is(key, name)}

        _rewrite(path, f"removing the credentials for {name} from {path}", change)
        removed = True
    return removed


def remove_all_credentials(authfile: str | None = None, compat: str | None = None) -> None:
    """Forget all that a file holds or gives to helpers. Raises as `store_credentials` does."""
    _one_file(authfile, compat)
    path = compat or writable_file(authfile)
    content = read_file(path)
    if content is None:
        return
    for key, helper in table(content, "credHelpers", path).items():
        if isinstance(helper, str) and helper:
            _take_from_helper(helper, key, key)
    store = content.get("credsStore")
    if isinstance(store, str) and store:
        for server in _listed(store):
            _take_from_helper(store, server, server)
    if table(content, "auths", path):
        _rewrite(path, f"removing all credentials from {path}", lambda content: content.update(auths={}))


def writable_file(authfile: str | None = None) -> str:
    """The file that `login` writes: `authfile`, $REGISTRY_AUTH_FILE, or the first of those that are read."""
    return authfile or os.environ.get("REGISTRY_AUTH_FILE") or files()[0]


def _one_file(authfile: str | None, compat: str | None) -> None:
    if authfile and compat:
        raise UsageError("--authfile and --compat-auth-file: only one file can be written")


def _configured(file: str | None, helpers: Sequence[str] | None) -> str | None:
    """The helper that registries.conf puts before the files; a file that was asked for goes before all."""
    first = helpers[0] if helpers and not file and not os.environ.get("REGISTRY_AUTH_FILE") else FILES
    return None if first == FILES else first


def _helper_of(content: dict[str, Any], key: str, name: str, path: str) -> str | None:
    """The helper that a file names for a registry."""
    helpers = table(content, "credHelpers", path)
    for helper in (helpers.get(key), helpers.get(name), content.get("credsStore")):
        if isinstance(helper, str) and helper:
            return helper
    return None


def _is(key: str, name: str) -> bool:
    """Whether a key of a file stands for `name`: Docker Hub has several."""
    normal = host_of_key(key)
    return normal == name or ("/" not in name and normal in keys_of(name))


def _give_to_helper(helper: str, name: str, credentials: Credentials) -> str:
    program = f"docker-credential-{helper}"
    entry = {"ServerURL": server_of(name), "Username": credentials.user, "Secret": credentials.password}
    run_helper(helper, "store", json.dumps(entry), f"giving the credentials for {name} to {program}")
    return program


def _take_from_helper(helper: str, server: str, name: str) -> bool:
    what = f"removing the credentials for {name} from docker-credential-{helper}"
    return run_helper(helper, "get", server, what) is not None and run_helper(helper, "erase", server, what) is not None


def _listed(helper: str) -> list[str]:
    """The servers that a helper has credentials for."""
    what = f"asking docker-credential-{helper} what it has"
    try:
        found = json.loads(run_helper(helper, "list", "", what) or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StorageError(f"{what}: its answer is not what the protocol says")
    return list(found)


def _rewrite(path: str, what: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` work on the content of a file, and put the new one in its place. One of us at a time."""
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = read_file(target) or {}
            change(content)
            _replace(target, json.dumps(content, indent="\t") + "\n")
            os.fsync(lock)
        finally:
            os.close(lock)
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror}", "choose another file with --authfile") from None


def _replace(path: str, text: str) -> None:
    draft = f"{path}.{os.urandom(4).hex()}.tmp"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
