"""Secrets as `secret ls` and `secret inspect` show them."""

from __future__ import annotations

from typing import Any

from rootless.errors import UsageError
from rootless.times import rfc3339
from storage.secrets import DRIVER, Secret


def described(secret: Secret) -> dict[str, Any]:
    """With Podman's keys, but the data."""
    return {
        "ID": secret.id,
        "CreatedAt": rfc3339(secret.created),
        "UpdatedAt": rfc3339(secret.updated),
        "Spec": {
            "Name": secret.name,
            "Driver": {"Name": DRIVER, "Options": secret.options},
            "Labels": secret.labels,
        },
    }


def matching(secrets: list[Secret], filters: list[str]) -> list[Secret]:
    """Those that one `name=` matches (part of it is enough) where there are any, and one `id=`. Raises UsageError."""
    names: list[str] = []
    ids: list[str] = []
    for text in filters:
        key, _, value = text.partition("=")
        if key not in ("name", "id") or not value:
            raise UsageError(f"--filter {text!r}: not a filter for secrets", "name=TEXT or id=BEGINNING")
        (names if key == "name" else ids).append(value)
    return [
        secret
        for secret in secrets
        if (not names or any(name in secret.name for name in names))
        and (not ids or any(secret.id.startswith(begin) for begin in ids))
    ]
