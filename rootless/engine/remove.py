"""`rm`."""

from __future__ import annotations

from rootless.engine import cleanup, records
from rootless.engine.faults import step
from rootless.engine.recover import find, refresh, settled
from rootless.errors import ConflictError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.store import Store


def remove(store: Store, reference: str, force: bool = False, volumes: bool = False, timeout: int | None = None) -> str:
    """Remove a container, and with `volumes` those that only it uses and that have no name; its id.

    With `force` one that runs is stopped first (`timeout` as for `stop`). Raises NotFoundError, ConflictError
    (exit code 2, as Podman's) where it runs.
    """
    from rootless.engine.start import myself

    container = find(store, reference)
    if container.alive or container.monitor_pid:
        if not force:
            raise ConflictError(
                f"removing {container.name}: it is running",
                f"rootless stop {container.name}, or rootless rm --force {container.name}",
                exit_code=2,
            )
        from rootless.engine.stop import stop

        try:
            settled(store, container)
            stop(store, container.id, timeout)
            container = refresh(store, records.find(store.db, container.id))
        except NotFoundError:
            return container.id  # it was made with --rm, or somebody else has removed it
    pid, start, boot = myself()
    if not records.update_if(
        store.db, container, state=records.REMOVING, monitor_pid=pid, monitor_start=start, boot_id=boot
    ):
        if records.get(store.db, container.id) is None:
            return container.id
        raise ConflictError(f"removing {container.name}: somebody else has just started it")
    step("removing")
    cleanup.remove_container(store, container.id, volumes or bool(container.auto_remove))
    return container.id
