"""`system check`: the store, and what of containers lies in it; and mending both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from rootless.engine import records
from rootless.engine.bundle import read_config
from rootless.engine.recover import refresh_all
from rootless.engine.remove import remove as remove_container
from rootless.errors import ConflictError, NotFoundError, RootlessError
from storage.database import transaction
from storage.drivers import WHOLE, remove_container_files
from storage.images.rows import forget_image, users_of
from storage.store import Store
from storage.upkeep.check import CONTAINER, IMAGE, LAYER, LIST, VOLUME, Checked, Damage
from storage.upkeep.check.content import check_content
from storage.upkeep.check.database import check_database, is_readable
from storage.upkeep.check.images import LOST, check_images
from storage.upkeep.check.leftovers import check_leftovers
from storage.upkeep.check.lists import check_lists, drop_members
from storage.upkeep.check.repair import repair as repair_store
from storage.upkeep.garbage import collect_garbage

_REMOVE = "rootless system check --repair --force (removes the container)"
_NO_ROW = "no row"


def check(store: Store, quick: bool, age: float, tell: Callable[[str], None]) -> Checked:
    """Look at everything. `quick`: no content is read; `age` (seconds): leftovers that are younger do not count."""
    checked = Checked()
    found = checked.damages
    found += check_database(store)
    if not is_readable(found):
        return checked
    containers = refresh_all(store, tell)
    checked.counts = {
        IMAGE: store.db.execute("SELECT count(*) FROM images").fetchone()[0],
        CONTAINER: len(containers),
        VOLUME: store.db.execute("SELECT count(*) FROM volumes").fetchone()[0],
    }
    found += check_images(store.db)
    found += check_lists(store.db)
    found += check_content(store, quick, checked.counts)
    found += _containers(store, containers)
    found += check_leftovers(store, age)
    found += _left_directories(store, age)
    return checked


def repair(store: Store, damages: list[Damage], force: bool) -> None:
    """Mend what can be mended. `force`: images that cannot be are removed, and containers that do not run."""
    if not is_readable(damages):
        return
    if force:
        for damage in damages:
            if damage.kind == CONTAINER:
                _attempt(damage, lambda damage=damage: _remove_container(store, damage))  # type: ignore[misc]
    repair_store(store, [damage for damage in damages if damage.kind != CONTAINER])
    if not force:
        return
    for damage in damages:
        if damage.kind in (IMAGE, LAYER, LIST) and not damage.mended:
            _attempt(damage, lambda damage=damage: _remove_images(store, damage))  # type: ignore[misc]
    collect_garbage(store)


def _attempt(damage: Damage, act: Callable[[], None]) -> None:
    try:
        act()
        damage.mended = True
    except (RootlessError, OSError) as error:
        damage.what.append(f"not removed: {error}")


def _containers(store: Store, containers: list[records.Container]) -> Iterator[Damage]:
    for container in containers:
        directory = store.layout.container(container.id)
        if container.state == records.REMOVING or container.monitor_pid:
            continue  # somebody is at work on it, or it runs: then what it needs is there
        what = []
        if not os.path.isdir(directory):
            what.append(f"its directory {directory} is missing")
        else:
            try:
                read_config(directory)
            except RootlessError as error:
                what.append(error.message)
            files = "rootfs" if container.driver in WHOLE else "upper"
            if not os.path.isdir(f"{directory}/{files}"):
                what.append(f"its files ({directory}/{files}) are missing")
        if what:
            yield Damage(CONTAINER, container.name, what, _REMOVE, key=container.id)


def _left_directories(store: Store, age: float) -> Iterator[Damage]:
    """Directories of containers that are in no row."""
    limit = time.time() - age
    for place in (store.layout.containers, f"{store.runroot}/containers"):
        try:
            names = os.listdir(place)
        except FileNotFoundError:
            continue
        known = {row[0] for row in store.db.execute("SELECT id FROM containers")}
        for name in names:
            try:
                if name in known or os.lstat(f"{place}/{name}").st_mtime > limit:
                    continue
            except FileNotFoundError:
                continue  # a removal has just ended
            what = ["the database knows no container of this id"]
            mend = _REMOVE.replace("the container", "what it has written")
            yield Damage(CONTAINER, f"{place}/{name}", what, mend, key=_NO_ROW)


def _remove_container(store: Store, damage: Damage) -> None:
    if damage.key != _NO_ROW:
        remove_container(store, damage.key)
        return
    remove_container_files(damage.name, store.user_namespace)


def _remove_images(store: Store, damage: Damage) -> None:
    """Remove the images that are damaged, or have the damaged layer, and the containers that stand on it; manifest
    lists go on without them."""
    if damage.kind == LIST:
        if damage.key != LOST:
            raise ConflictError("it can be mended without --force")
        drop_members(store, damage.name)
        return
    if damage.kind == IMAGE and damage.key != LOST:
        raise ConflictError("it can be mended without --force")
    images, containers = [damage.name], [row[0] for row in users_of(store.db, damage.name)]
    if damage.kind == LAYER:
        layer = damage.name.partition(".")[0]
        images = _column(store, "SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ?", layer)
        containers = _column(store, "SELECT DISTINCT container_id FROM container_layers WHERE diff_id = ?", layer)
        for list_id in _column(store, "SELECT DISTINCT list_id FROM manifest_list_layers WHERE diff_id = ?", layer):
            drop_members(store, list_id, layer)
    for container_id in containers:
        try:
            remove_container(store, container_id)
        except NotFoundError:
            continue
    with transaction(store.db) as db:
        for image_id in images:
            if not users_of(db, image_id):
                forget_image(db, image_id)


def _column(store: Store, query: str, parameter: str) -> list[str]:
    return [row[0] for row in store.db.execute(query, (parameter,))]
