"""`update`: what can be changed of a container that was made."""

from __future__ import annotations

from rootless.engine import records
from rootless.engine.events import container_event
from rootless.engine.recover import find
from rootless.engine.restart import end, parse_policy
from rootless.errors import NotFoundError, UsageError
from rootless.jsontext import dumps, loads
from storage.database import transaction
from storage.store import Store


def set_restart_policy(store: Store, reference: str, text: str) -> str:
    """Change the restart policy, from the container's next end on; its id.

    One that is about to be started again, and is not to be any more, stays ended. Raises NotFoundError, UsageError.
    """
    policy = parse_policy(text)
    container = find(store, reference)
    if policy and container.auto_remove:
        raise UsageError(
            f"updating {container.name}: --restart {policy}: it is to be removed when it ends (--rm)",
            "make it anew without --rm",
        )
    with transaction(store.db):
        current = records.get(store.db, container.id)
        if current is None:
            raise NotFoundError(f"updating {container.name}: it was removed")
        request = loads(current.request)
        request.pop("restart", None)
        if policy:
            request["restart"] = policy
        records.update(store.db, current.id, restart=policy, request=dumps(request))
    if not policy and current.state == records.RESTARTING:
        end(store, current)
    container_event(store, container, "update")
    return container.id
