"""Where a container's log is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.request import CreateRequest
    from storage.store import Store

NO_FILE = ("none", "passthrough", "passthrough-tty", "journald")  # drivers that keep no file
PASSTHROUGH = ("passthrough", "passthrough-tty")
_REGULAR, _FORMAT = 0o100000, 0o170000


def open_log(store: Store, container_id: str, request: CreateRequest) -> int:
    """The log to append to; -1 where there is none. Raises RootlessError where it cannot be written."""
    if request.log_driver in NO_FILE:
        return -1
    path = log_path(store, container_id, request.log_opt)
    # Non-blocking: a fifo that nobody reads would hold up the start, and later the container.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        from rootless.errors import RootlessError

        raise RootlessError(f"opening the log {path}: {error.strerror}") from None
    status = os.fstat(fd)
    if status.st_size and status.st_mode & _FORMAT == _REGULAR:
        _end_line(fd, path)
    return fd


def _end_line(fd: int, path: str) -> None:
    """Where a crash has left half a line at the end, what comes is not to go on with it."""
    try:
        reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a log that we may only write
        return
    try:
        if os.pread(reader, 1, os.fstat(reader).st_size - 1) != b"\n":
            os.write(fd, b"\n")
    except OSError:  # a full disk
        pass
    finally:
        os.close(reader)


def log_path(store: Store, container_id: str, options: list[str]) -> str:
    """Where the log of a container is."""
    return option(options, "path") or store.layout.container(container_id) + "/ctr.log"


def option(options: list[str], key: str) -> str:
    """The value of a `--log-opt`, the last of its name; "" where it was not given."""
    found = ""
    for text in options:
        name, _, value = text.partition("=")
        if name == key:
            found = value
    return found
