"""`update --health-...`: what is checked of a container that is there already."""

from __future__ import annotations

from rootless.engine import records
from rootless.engine.attach import connect
from rootless.engine.health.plan import SHELL, changed, is_check
from rootless.engine.health.results import STARTING, begin
from rootless.errors import NotFoundError
from rootless.jsontext import dumps, loads
from storage.database import transaction
from storage.healthcheck import NONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store


def change_checks(store: Store, container: Container, given: dict[str, Any], none: bool = False) -> None:
    """Apply options (attribute of a request: value as typed), or with `none` check nothing more. A container that runs
    is checked at once.

    Raises UsageError, and then nothing was changed; NotFoundError where it was removed.
    """
    conn = store.db
    with transaction(conn):
        current = records.get(conn, container.id)
        if current is None:
            raise NotFoundError(f"updating {container.name}: it was removed")
        request = loads(current.request)
        old = request.get("health")
        new = {"Test": [NONE]} if none else changed(old, given, (old or {}).get("Shell") or SHELL)
        request["health"] = new
        columns = {"request": dumps(request), "health": current.health}
        if not is_check(new):
            columns["health"] = ""
        elif current.alive and not (current.health and is_check(old)):
            begin(conn, container.id, new)
            columns["health"] = STARTING
        records.update(conn, container.id, **columns)
    connection = connect(store, container.id) if current.alive else None
    if connection is not None:
        try:
            connection.send(b"H")
        except OSError:  # it has just ended
            pass
        connection.close()
