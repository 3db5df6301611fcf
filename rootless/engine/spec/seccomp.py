"""The system-call filter of a container: the default profile, a profile in a file, or none."""

from __future__ import annotations

from rootless.engine.bundle import SECCOMP
from rootless.runtime.seccomp_profile import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from storage.store import Store

_LARGEST_PROFILE = 4 << 20


def seccomp_filter(store: Store, config: dict[str, Any]) -> bytes | None:
    """The BPF program for an OCI configuration of ours, from the cache where it was made before; None for no filter."""
    wanted = config["annotations"].get(SECCOMP)
    if wanted == "unconfined":
        return None
    profile = read_profile(wanted) if wanted else None
    return program(profile, config["process"]["capabilities"]["bounding"], f"{store.root}/seccomp")


def refuses_keys(config: dict[str, Any]) -> bool:
    """Whether the filter refuses every call for keys (add_key, keyctl, request_key), as the default one does."""
    return SECCOMP not in config["annotations"]


def read_profile(path: str) -> dict[str, Any]:
    """The seccomp profile in the file `path`, as Docker and Podman take them. Raises NotFoundError, UsageError."""
    from rootless.errors import NotFoundError, UsageError
    from rootless.jsontext import loads
    from rootless.kernel.fifos import open_to_read

    try:
        with open(path, "rb", opener=open_to_read) as file:
            text = file.read(_LARGEST_PROFILE + 1)
        if len(text) > _LARGEST_PROFILE:
            raise UsageError(f"--security-opt seccomp={path}: it has more than {_LARGEST_PROFILE} bytes")
        profile = loads(text)
    except OSError as error:
        raise NotFoundError(f"--security-opt seccomp={path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--security-opt seccomp={path}: not JSON: {error}") from None
    if not isinstance(profile, dict):
        raise UsageError(f"--security-opt seccomp={path}: not a seccomp profile")
    return profile
