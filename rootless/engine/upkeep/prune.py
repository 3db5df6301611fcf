"""Removing what is not used: stopped containers, and with `system prune` also images, volumes and kept blobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rootless.engine.cleanup import take
from rootless.engine.events import container_event
from rootless.engine.records import CREATED, EXITED, Container
from rootless.engine.recover import refresh_all
from rootless.errors import RootlessError
from storage.drivers.sizes import ALL, sizes_of, writable_place
from storage.store import Store
from storage.volumes.rows import Volume, forget_volumes, list_volumes


@dataclass(slots=True)
class Pruned:
    """Names or ids of what went, the bytes that it took, and what could not be removed, by name."""

    gone: list[str] = field(default_factory=list)
    size: int = 0
    failures: dict[str, Exception] = field(default_factory=dict)


def prune_containers(store: Store, passes: Callable[[Container], bool], tell: Callable[[str], None]) -> Pruned:
    """Remove the containers that have no process and pass; their volumes stay. `tell` is given warnings."""
    found = [
        one
        for one in refresh_all(store, tell)
        if one.state in (CREATED, EXITED) and not one.monitor_pid and passes(one)
    ]
    places = [writable_place(one.driver, store.layout.container(one.id)) for one in found]
    pruned = Pruned()
    for one, size in zip(found, sizes_of(places, store.user_namespace), strict=True):
        try:
            taken = take(store, one, volumes=False, needed=False)
        except (RootlessError, OSError) as error:
            pruned.failures[one.name] = error
            continue
        if taken:  # else somebody has just started it
            container_event(store, one, "prune")
            pruned.gone.append(one.id)
            pruned.size += size
    return pruned


def prune_volumes(store: Store, passes: Callable[[Volume], bool]) -> Pruned:
    """Remove the volumes that no container has and that pass."""
    names = [volume.name for volume in list_volumes(store.db) if not volume.users and passes(volume)]
    sizes = sizes_of([(f"{store.layout.volume(name)}/_data", ALL) for name in names], store.user_namespace)
    gone = forget_volumes(store, names, pruned=True)
    return Pruned(gone, sum(size for name, size in zip(names, sizes, strict=True) if name in gone))
