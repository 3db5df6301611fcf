"""`update --health-...`: what is checked of a container that is there already."""

from __future__ import annotations

from rootless.engine.attach import connect
from rootless.engine.health.plan import SHELL, changed, is_check
from rootless.engine.health.results import begin
from storage.documents.healthcheck import NONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.sqlite import Connection
    from storage.store import Store


def change_checks(
    conn: Connection, container: Container, request: dict[str, Any], given: dict[str, Any], none: bool
) -> dict[str, str]:
    """Apply options (attribute of a request: value as typed) to the plan in `request`, or with `none` take it out.

    Within a transaction that has read `container`; what its row is to say. Raises UsageError.
    """
    old = request.get("health")
    new = {"Test": [NONE]} if none else changed(old, given, (old or {}).get("Shell") or SHELL)
    request["health"] = new
    if not is_check(new):
        return {"health": ""}
    return begin(conn, container.id, new) if container.alive and not container.health else {}


def check_now(store: Store, container: Container) -> None:
    """Tell the monitor of a container, where it runs, that there is another plan."""
    connection = connect(store, container.id) if container.alive else None
    if connection is not None:
        try:
            connection.send(b"H")
        except OSError:  # it has just ended
            pass
        connection.close()
