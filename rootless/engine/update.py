"""`update`: what can be changed of a container that was made."""

from __future__ import annotations

from typing import Any

from rootless.engine import records
from rootless.engine.events import container_event
from rootless.engine.health.change import change_checks, check_now
from rootless.engine.records import Container
from rootless.engine.recover import find
from rootless.engine.request import CreateRequest
from rootless.engine.restart import end, parse_policy
from rootless.errors import NotFoundError, UsageError
from rootless.jsontext import dumps, loads
from storage.database import transaction
from storage.store import Store

# What takes the place of what.
_INSTEAD = {"cpus": ("cpu_quota", "cpu_period"), "cpu_quota": ("cpus",), "cpu_period": ("cpus",)}


def update(
    store: Store,
    reference: str,
    restart: str | None,
    checks: dict[str, Any],
    no_check: bool = False,
    limits: dict[str, Any] | None = None,
) -> str:
    """Change a container's restart policy from its next end on, its health checks and limits from now on; its id.

    `restart` None: as it is. `checks`: as for `health.change`; with `no_check` there are none any more. `limits`:
    fields of CreateRequest. One that is about to be started again, and is not to be any more, stays ended. Raises
    NotFoundError, UsageError, RootlessError, and then nothing was changed.
    """
    if no_check and checks:
        raise UsageError("update: --no-healthcheck and the other options about checks contradict each other")
    policy = None if restart is None else parse_policy(restart)
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
        columns = {}
        if checks or no_check:
            columns = change_checks(store.db, current, request, checks, no_check)
        if policy is not None:
            request.pop("restart", None)
            if policy:
                request["restart"] = policy
            columns["restart"] = policy
        if limits:
            _limit(current, request, limits)
        records.update(store.db, current.id, **columns, request=dumps(request))
    if checks or no_check:
        check_now(store, current)
    if policy == "" and current.state == records.RESTARTING:
        end(store, current)
    container_event(store, container, "update")
    return container.id


def put_limits(request: dict[str, Any], limits: dict[str, Any]) -> None:
    """Set limits in the plain form of a request; what they take the place of goes."""
    for name, value in limits.items():
        for other in _INSTEAD.get(name, ()):
            if other not in limits:
                request.pop(other, None)
        request[name] = value


def _limit(container: Container, request: dict[str, Any], limits: dict[str, Any]) -> None:
    """Change the limits in a request, and those of the container where it runs."""
    from rootless.engine.cgroups import confine

    put_limits(request, limits)
    wanted = CreateRequest.from_plain(request)
    if container.alive:
        confine.change(container, wanted)
    else:
        confine.check(wanted)
