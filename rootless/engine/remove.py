"""`rm`."""

from __future__ import annotations

from rootless.engine import cleanup, records
from rootless.engine.faults import step
from rootless.engine.recover import find, settled
from rootless.errors import ConflictError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from storage.store import Store


def remove(store: Store, reference: str, force: bool = False, volumes: bool = False, timeout: int | None = None) -> str:
    """Remove a container, and with `volumes` those that only it uses and that have no name; its id.

    With `force` one that runs is stopped first (`timeout` as for `stop`). Raises NotFoundError, ConflictError
    (exit code 2, as Podman's) where it runs.
    """
    from rootless.engine.start import myself

    container = find(store, reference)
    pid, start, boot = myself()
    try:
        while True:
            if force or container.state == records.REMOVING:
                container = settled(store, container)  # others may be starting it, or removing it as we are
            if container.alive or container.monitor_pid:
                container = _ended(store, container, force, timeout)
            if records.update_if(
                store.db, container, state=records.REMOVING, monitor_pid=pid, monitor_start=start, boot_id=boot
            ):
                break
            container = find(store, container.id)  # somebody else was faster
    except NotFoundError:
        return container.id  # it was made with --rm, or somebody else has removed it
    step("removing")
    cleanup.remove_container(store, container.id, volumes or bool(container.auto_remove))
    return container.id


def _ended(store: Store, container: Container, force: bool, timeout: int | None) -> Container:
    if not force:
        raise ConflictError(
            f"removing {container.name}: it is running",
            f"rootless stop {container.name}, or rootless rm --force {container.name}",
            exit_code=2,
        )
    from rootless.engine.stop import stop

    stop(store, container.id, timeout)
    return find(store, container.id)
