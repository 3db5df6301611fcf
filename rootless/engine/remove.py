"""`rm`."""

from __future__ import annotations

from rootless.engine import records
from rootless.engine.cleanup import needed_by_others, take
from rootless.engine.recover import find, settled
from rootless.errors import ConflictError, NotFoundError

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
            if needed_by := records.dependents(store.db, container.id):
                raise needed_by_others(container, needed_by)
            if container.alive or container.monitor_pid:
                container = _ended(store, container, force, timeout, tell)
                if container.alive or container.monitor_pid:
                    continue  # somebody has started it again
            if take(store, container, volumes or bool(container.auto_remove), needed=False):
                break
            container = find(store, container.id)  # somebody else was faster
    except NotFoundError:
        pass  # it was made with --rm, or somebody else has removed it
    return container.id


def in_order(store: Store, references: list[str], dependents: bool) -> list[str]:
    """What is to be removed, in an order in which that can be done: each after all that need it.

    `dependents`: these are to be removed too, even where nobody has named them. Names that mean no container stay.
    """
    named: dict[str, str] = {}  # id -> as it was named
    unknown = []
    for reference in references:
        try:
            named.setdefault(find(store, reference).id, reference)
        except NotFoundError:
            unknown.append(reference)
    found: dict[str, None] = {}

    def visit(container_id: str) -> None:
        if container_id not in found:
            for one in records.dependents(store.db, container_id):
                visit(one.id)
            found[container_id] = None

    for container_id in named:
        visit(container_id)
    return [named.get(one, one) for one in found if dependents or one in named] + unknown


def _ended(store: Store, container: Container, force: bool, timeout: int | None, tell: Tell | None) -> Container:
    if not force and not container.waits:
        state = container.state if container.state in (records.RESTARTING, records.PAUSED) else "running"
        first = "unpause" if state == records.PAUSED else "stop"
        raise ConflictError(
            f"removing {container.name}: it is {state}",
            f"rootless {first} {container.name}, or rootless rm --force {container.name}",
            exit_code=2,
        )
    from rootless.engine.stop import kill, stop

    try:
        if container.state == records.PAUSED:
            kill(store, container.id)
        else:
            stop(store, container.id, timeout, tell)
    except ConflictError:
        if find(store, container.id).state == container.state:
            raise  # else somebody has paused or unpaused it in this moment, or it has ended
    return find(store, container.id)
