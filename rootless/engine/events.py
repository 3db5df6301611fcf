"""What happens to containers, written into the store's log of events (`storage.events`)."""

from __future__ import annotations

from rootless.jsontext import loads
from storage.events import emit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

__all__ = ["container_event", "emit"]


def container_event(store: Store, container: Container, action: str, **more: Any) -> None:
    """Write down what has happened to a container; `more` as for `emit`. Never fails.

    Actions are Podman's: create, init, start, attach, exec, exec_died, died, cleanup, kill, stop, pause, unpause,
    restart, rename, health_status, commit, export, mount, unmount, update, prune, remove; and Docker's: copy, oom.
    """
    labels = loads(container.labels) if container.labels != "{}" else None
    emit(store, "container", action, container.id, container.name, image=container.image_name, labels=labels, **more)
