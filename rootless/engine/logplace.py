"""Where a container's log is, and what its monitor must know to write it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


def takes_streams(request: CreateRequest) -> bool:
    """Whether the container has the standard streams of the command that starts it. Raises UsageError where these are
    a terminal and that was not asked for."""
    if request.log_driver not in PASSTHROUGH:
        return False
    from rootless.engine.log_options import check_passthrough

    check_passthrough(request)
    return True


def sink_plan(store: Store, container_id: str, request: CreateRequest) -> dict[str, Any] | None:
    """What the monitor must know of the log besides its descriptor, in values that marshal takes; None for nothing.

    Raises RootlessError where there is no journal to write to.
    """
    if request.log_driver in (None, "k8s-file", "none", *PASSTHROUGH) and not request.log_opt:
        return None
    from rootless.engine.log_options import plan

    return plan(store, container_id, request)
