"""`rm`."""

from __future__ import annotations

import os

from rootless.engine import cleanup, records
from rootless.engine.bundle import hold
from rootless.engine.recover import find, settled
from rootless.errors import ConflictError, NotFoundError
from rootless.faults import step
from rootless.kernel.pidfd import myself

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.engine.stop import Tell
    from storage.store import Store


def remove(
    store: Store,
    reference: str,
    force: bool = False,
    volumes: bool = False,
    timeout: int | None = None,
    tell: Tell | None = None,
) -> str:
    """Remove a container, and with `volumes` those that only it uses and that have no name; its id.

    With `force` one that runs is stopped first (`timeout`, `tell` as for `stop`). Raises NotFoundError, ConflictError
    (exit code 2, as Podman's) where it runs.
    """
    container = find(store, reference)
    try:
        while True:
            if force or container.state == records.REMOVING:
                container = settled(store, container)  # others may be starting it, or removing it as we are
            if container.alive or container.monitor_pid:
                container = _ended(store, container, force, timeout, tell)
            if take(store, container, volumes or bool(container.auto_remove)):
                break
            container = find(store, container.id)  # somebody else was faster
    except NotFoundError:
        pass  # it was made with --rm, or somebody else has removed it
    return container.id


def take(store: Store, container: Container, volumes: bool) -> bool:
    """Remove a container that has no process, with `volumes` also those that only it uses and that have no name; False
    where its row is not what it was, and nothing was done."""
    held = hold(store.layout.container(container.id))
    try:
        pid, start, realm = myself()
        taken = records.update_if(
            store.db,
            container,
            state=records.REMOVING,
            monitor_pid=pid,
            monitor_start=start,
            boot_id=realm,
            auto_remove=int(volumes),  # so that whoever must finish this knows
        )
        if taken:
            step("removing")
            cleanup.remove_container(store, container.id, volumes)
        return taken
    finally:
        if held >= 0:
            os.close(held)


def _ended(store: Store, container: Container, force: bool, timeout: int | None, tell: Tell | None) -> Container:
    if not force:
        raise ConflictError(
            f"removing {container.name}: it is running",
            f"rootless stop {container.name}, or rootless rm --force {container.name}",
            exit_code=2,
        )
    from rootless.engine.stop import stop

    stop(store, container.id, timeout, tell)
    return find(store, container.id)
