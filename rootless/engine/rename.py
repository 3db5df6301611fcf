"""`rename`."""

from __future__ import annotations

from rootless.engine.create import check_name
from rootless.engine.events import container_event
from rootless.engine.records import REMOVING, name_taken
from rootless.engine.recover import find
from rootless.errors import ConflictError, NotFoundError, UsageError
from storage.sqlite import IntegrityError
from storage.store import Store


def rename(store: Store, reference: str, name: str) -> None:
    """Give a container another name, in whatever state it is. Its host name, and its name in /etc/hosts, stay until it
    is started again.

    Raises NotFoundError, UsageError for what is no name, ConflictError where the name is taken.
    """
    container = find(store, reference)
    doing = f"renaming {container.name}"
    try:
        check_name(name)
    except UsageError as error:
        raise UsageError(f'{doing}: "{name}" is not a name for a container', error.hint) from None
    if name == container.name:
        raise ConflictError(f"{doing}: it has this name already")
    try:
        done = store.db.execute(
            "UPDATE containers SET name = ? WHERE id = ? AND state != ?", (name, container.id, REMOVING)
        )
    except IntegrityError:
        raise name_taken(store.db, name, doing) from None
    if done.rowcount != 1:
        raise NotFoundError(f"{doing}: it is being removed", "`rootless ps -a` lists what there is")
    old, container.name = container.name, name
    container_event(store, container, "rename", oldName=old)
