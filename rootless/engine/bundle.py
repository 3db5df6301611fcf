"""config.json: the OCI configuration of a container, in its directory."""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.jsontext import dumps, loads
from rootless.kernel.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Annotations of ours: destinations of volumes that are filled from the image, one a line; the seccomp profile, where
# it is not the default one.
COPY_UP = "org.rootless.copy-up"
SECCOMP = "org.rootless.seccomp"


def write_config(directory: str, config: dict[str, Any]) -> None:
    """Keep the configuration. Arguments that are not UTF-8 are written as the bytes that they are."""
    write_new(f"{directory}/config.json", dumps(config))


def read_config(directory: str, errors: str = "surrogateescape") -> dict[str, Any]:
    """The configuration of the container whose directory this is. Raises StorageError.

    `errors`: what becomes of bytes that are not UTF-8; "replace" makes text that can be shown.
    """
    path = f"{directory}/config.json"
    try:
        with open(path, "rb", buffering=0) as file:
            config: dict[str, Any] = loads(file.readall().decode("utf-8", errors))
            return config
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    raise StorageError(f"reading {path}: {why}", "a crash has left the container half made: remove it and make it anew")


def write_new(path: str, text: str) -> None:
    """Write a file that must not exist yet."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)
