"""seccomp profiles in files, as Docker and Podman take them."""

from __future__ import annotations

from typing import Any

from rootless.errors import NotFoundError, UsageError
from rootless.jsontext import loads


def read_profile(path: str) -> dict[str, Any]:
    """The profile in the file `path`. Raises NotFoundError, UsageError."""
    try:
        with open(path, "rb") as file:
            profile = loads(file.read())
    except OSError as error:
        raise NotFoundError(f"--security-opt seccomp={path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--security-opt seccomp={path}: not JSON: {error}") from None
    if not isinstance(profile, dict):
        raise UsageError(f"--security-opt seccomp={path}: not a seccomp profile")
    return profile
