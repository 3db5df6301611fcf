"""config.json: the OCI configuration of a container, in its directory.

Whoever makes, runs or removes a container holds a lock on this file (`hold`). Those who cannot see that process, from
another pid namespace or another machine, learn from the lock whether it lives (`is_held`).
"""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.jsontext import dumps, loads
from rootless.kernel.files import lock_file, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Annotations of ours: destinations of volumes that are filled from the image, one a line; the seccomp profile, where
# it is not the default one; names of more groups of the user, with commas between.
COPY_UP = "org.rootless.copy-up"
GROUPS = "org.rootless.groups"
SECCOMP = "org.rootless.seccomp"

DEFAULT_SHM_SIZE = 65536 << 10  # bytes, of /dev/shm

# What everybody takes for granted in it; a list says what each of its entries is.
_SHAPE = {
    "hostname": str,
    "root": {"path": str},
    "annotations": {},
    "mounts": [{"destination": str, "type": str, "source": str}],
    "process": {"args": [str], "env": [str], "cwd": str, "capabilities": {"effective": [str], "bounding": [str]}},
    "linux": {},
}


def write_config(directory: str, config: dict[str, Any]) -> int:
    """Keep the configuration; the descriptor that holds the container. Arguments that are not UTF-8 are written as the
    bytes that they are."""
    fd = _create(f"{directory}/config.json", os.O_RDWR)
    try:
        _lock(fd)  # before there is anything in it: see `is_held`
        write_all(fd, _encoded(dumps(config)))
    except BaseException:
        os.close(fd)
        raise
    return fd


def hold(directory: str) -> int:
    """Say that we are busy with the container whose directory this is, until the descriptor is closed and nobody has a
    copy of it; -1 where it has no configuration (yet, or any more)."""
    try:
        fd = os.open(f"{directory}/config.json", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return -1
    _lock(fd)
    return fd


def _lock(fd: int) -> None:
    try:
        lock_file(fd, exclusive=False, blocking=True)
    except OSError:  # a file system without locks: then only those who see us know of us
        pass


def is_held(directory: str) -> bool | None:
    """Whether somebody is busy with the container (`hold`); None where nothing is there that could tell."""
    try:  # to write: without, NFS gives no exclusive lock
        fd = os.open(f"{directory}/config.json", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_size == 0:
            return None  # being written
        return not lock_file(fd, exclusive=True, blocking=False)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_config(directory: str, errors: str = "surrogateescape") -> dict[str, Any]:
    """The configuration of the container whose directory this is. Raises StorageError where it cannot be read, or is
    not what `write_config` has written.

    `errors`: what becomes of bytes that are not UTF-8; "replace" makes text that can be shown.
    """
    path = f"{directory}/config.json"
    try:
        with open(path, "rb", buffering=0) as file:
            written = file.readall()
        config: dict[str, Any] = loads(written.decode("utf-8", errors))
        why = _flaw(config, _SHAPE, "")
        if not why:
            return config
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = f"it is damaged: {error}" if written.strip(b"\0") else "it is empty"
    raise StorageError(
        f"reading {path}: {why}",
        "a crash has left the container half made, or somebody has changed this file: remove it and make it anew",
    )


def _flaw(value: object, shape: Any, name: str) -> str:
    """What is wrong with a part of a configuration, `name`; "" where it is of this shape."""
    kind = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind):
        return f"it is damaged: {name or 'all of it'} is {'missing' if value is None else type(value).__name__}"
    flaw = ""
    if isinstance(value, dict) and isinstance(shape, dict):
        for key in shape:
            flaw = flaw or _flaw(value.get(key), shape[key], f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for entry in value:
            flaw = flaw or _flaw(entry, shape[0], f"an entry of {name}")
    return flaw


def write_new(path: str, text: str) -> None:
    """Write a file that must not exist yet."""
    fd = _create(path, os.O_WRONLY)
    try:
        write_all(fd, _encoded(text))
    finally:
        os.close(fd)


def _create(path: str, access: int) -> int:
    return os.open(path, access | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
