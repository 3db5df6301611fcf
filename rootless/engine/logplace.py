"""Where a container's log is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.request import CreateRequest
    from storage.store import Store


def open_log(store: Store, container_id: str, request: CreateRequest) -> int:
    """The log to append to; -1 where there is none. Raises RootlessError where it cannot be written."""
    if request.log_driver == "none":
        return -1
    path = log_path(store, container_id, request.log_opt)
    # Non-blocking: a fifo that nobody reads would hold up the start, and later the container.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        from rootless.errors import RootlessError

        raise RootlessError(f"opening the log {path}: {error.strerror}") from None


def log_path(store: Store, container_id: str, options: list[str]) -> str:
    """Where the log of a container is."""
    for option in options:
        if option.startswith("path="):
            return option[5:]
    return store.layout.container(container_id) + "/ctr.log"
