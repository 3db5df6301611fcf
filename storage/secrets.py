"""Secrets of a store: small pieces of data that containers are given and images never have.

<root>/secrets/<name>      0600; a line of JSON that describes it, then the data as it was given
<root>/secrets/=<random>   one on its way in; no secret can have such a name

A secret is one file, so it comes, changes and goes as a whole; two who make the same name meet at link(2).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rootless.errors import ConflictError, NotFoundError, StorageError, UsageError
from rootless.jsontext import dumps, loads
from rootless.kernel.files import sync_path, write_all
from rootless.paths import make_private
from storage.events import emit
from storage.store import Store

LARGEST = 512000  # bytes, Podman's limit; that many are too many
DRIVER = "file"
_FORBIDDEN = frozenset("=/,\0\n")
_SWEPT_AFTER = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Secret:
    """What is known of a secret but the data. `created`, `updated`: Unix seconds."""

    id: str
    name: str
    created: float
    updated: float
    labels: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


def check_secret_name(name: str) -> str:
    """`name`, if a secret can have it. Raises UsageError."""
    if not 0 < len(os.fsencode(name)) <= 253 or name in (".", "..") or not _FORBIDDEN.isdisjoint(name):
        raise UsageError(
            f"the secret {name[:60]!r}: not a name for a secret",
            "names have 1 to 253 characters, none of them = / , or a line's end",
        )
    return name


def create_secret(
    store: Store,
    name: str,
    data: bytes,
    labels: dict[str, str],
    options: dict[str, str],
    *,
    replace: bool = False,
    ignore: bool = False,
) -> Secret:
    """Keep a secret. `replace`: also in place of one of this name; `ignore`: leave one that is there as it is.

    Raises UsageError, ConflictError, StorageError.
    """
    check_secret_name(name)
    if not 0 < len(data) < LARGEST:
        raise UsageError(
            f"making the secret {name}: it has {len(data)} bytes", f"secrets have at least 1 and less than {LARGEST}"
        )
    directory = _directory(store)
    store.layout.create()
    make_private(directory)
    _sweep(directory)
    now = time.time()
    old = _read_head(f"{directory}/{name}", name)
    if old is not None and ignore:
        return old
    made = Secret(os.urandom(13).hex()[:25], name, now, now, labels, options)
    if old is not None and replace:
        made = Secret(old.id, name, old.created, now, labels, options)
    draft = f"{directory}/={os.urandom(8).hex()}"
    try:
        _write(draft, made, data)
        if replace:
            os.rename(draft, f"{directory}/{name}")
        else:
            try:
                os.link(draft, f"{directory}/{name}")
            finally:
                os.unlink(draft)
        sync_path(directory)
    except FileExistsError:
        raise ConflictError(
            f"making the secret {name}: there is one of this name", f"--replace, or rootless secret rm {name}"
        ) from None
    except OSError as error:
        raise StorageError(f"making the secret {name}: {error.strerror}") from None
    emit(store, "secret", "create", made.id, name)
    return made


def list_secrets(store: Store) -> list[Secret]:
    """All secrets, by name. Raises StorageError for a damaged one."""
    directory = _directory(store)
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith("="))
    except FileNotFoundError:
        return []
    found = [_read_head(f"{directory}/{name}", name) for name in names]
    return [secret for secret in found if secret is not None]


def find_secret(store: Store, reference: str) -> Secret:
    """The secret with this name, this id, or the only one whose id begins so. Raises NotFoundError, ConflictError."""
    if reference and reference not in (".", "..") and _FORBIDDEN.isdisjoint(reference):
        found = _read_head(f"{_directory(store)}/{reference}", reference)
        if found is not None:
            return found
    matching = [secret for secret in list_secrets(store) if reference and secret.id.startswith(reference)]
    if not matching:
        raise NotFoundError(f"the secret {reference[:80]!r}: there is none such", "`rootless secret ls` lists them")
    if len(matching) > 1 and matching[0].id != reference:
        raise ConflictError(f"the secret {reference}: several ids begin so", "write more of it, or the name")
    return matching[0]


def read_secret(store: Store, secret: Secret) -> bytes:
    """The data. Raises NotFoundError, StorageError."""
    try:
        with open(f"{_directory(store)}/{secret.name}", "rb") as file:
            file.readline()
            return file.read(LARGEST)
    except FileNotFoundError:
        raise NotFoundError(f"the secret {secret.name}: it has just been removed") from None
    except OSError as error:
        raise StorageError(f"reading the secret {secret.name}: {error.strerror}") from None


def remove_secret(store: Store, secret: Secret) -> None:
    """Remove a secret; containers that have it keep it. Raises StorageError."""
    try:
        os.unlink(f"{_directory(store)}/{secret.name}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"removing the secret {secret.name}: {error.strerror}") from None
    emit(store, "secret", "remove", secret.id, secret.name)


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE words as a mapping."""
    return {key: value for key, _, value in (text.partition("=") for text in given)}


def _directory(store: Store) -> str:
    return store.root + "/secrets"


def _write(path: str, secret: Secret, data: bytes) -> None:
    head = {
        "id": secret.id,
        "created": secret.created,
        "updated": secret.updated,
        "labels": secret.labels,
        "options": secret.options,
    }
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, dumps(head).encode("utf-8", "surrogateescape") + b"\n" + data)
        os.fsync(fd)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _read_head(path: str, name: str) -> Secret | None:
    try:
        with open(path, "rb") as file:
            head = loads(file.readline(1 << 20).decode("utf-8", "surrogateescape"))
        return Secret(head["id"], name, head["created"], head["updated"], head["labels"], head["options"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"reading {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"reading {path}: it is damaged", f"remove the file, make {name} anew") from None


def _sweep(directory: str) -> None:
    """Remove what killed processes have left half written."""
    for name in os.listdir(directory):
        if name.startswith("="):
            path = f"{directory}/{name}"
            try:
                if os.stat(path).st_mtime < time.time() - _SWEPT_AFTER:
                    os.unlink(path)
            except OSError:
                pass  # somebody else has swept it
