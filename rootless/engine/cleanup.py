"""What is taken away when a container has ended or is removed.

Files go first, the row last: a crash in between leaves a row that the next command finds, never files without one.
"""

from __future__ import annotations

import os
import time

from rootless.engine import records
from rootless.errors import ConflictError, DiskFullError
from rootless.faults import step
from storage.database import transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.records import Container
    from rootless.kernel.userns import UserNamespace
    from storage.store import Store


_PATIENCE = 100  # attempts
_PAUSE = 0.02  # seconds


def run_directory(store: Store, container_id: str) -> str:
    """Where a container's live state is: sockets, files for /etc."""
    return f"{store.runroot}/containers/{container_id}"


def make_run_directory(store: Store, container_id: str) -> str:
    """A fresh, private run directory."""
    path = run_directory(store, container_id)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        remove_run_directory(store, container_id)
        os.mkdir(path, 0o700)
    except OSError:  # not there yet, or not ours: then one of these says so
        from rootless.paths import make_private

        make_private(store.runroot)
        make_private(f"{store.runroot}/containers")
        make_private(path)
    return path


def remove_run_directory(store: Store, container_id: str) -> None:
    """Delete a run directory with all that is in it; one that we cannot look into is not ours."""
    path = run_directory(store, container_id)
    try:
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # where we cannot look, we have made nothing
        pass
    except OSError:  # somebody has put a directory there; one strange thing may not hold up every command
        from rootless.kernel.files import remove_tree

        remove_tree(path)


def record_end(store: Store, container: Container, changes: dict[str, Any]) -> bool:
    """Write down how a container has ended, and take its run directory away; False where its row is not what it was.

    Within one transaction: whoever starts it anew changes the row first, and only then makes such a directory.
    """
    with transaction(store.db):
        recorded = records.update_if(store.db, container, **changes)
        if recorded:
            remove_run_directory(store, container.id)
    return recorded


def take(store: Store, container: Container, volumes: bool, needed: bool = True) -> bool:
    """Remove a container that has no process, with `volumes` also those that only it uses and that have no name; False
    where its row is not what it was, and nothing was done. `needed`: even if other containers need it; else that is a
    ConflictError."""
    from rootless.engine.bundle import hold
    from rootless.kernel.pidfd import myself

    held = hold(store.layout.container(container.id))
    try:
        pid, start, realm = myself()
        with transaction(store.db):
            if not needed and (needed_by := records.dependents(store.db, container.id)):
                raise needed_by_others(container, needed_by)
            taken = records.update_if(
                store.db,
                container,
                state=records.REMOVING,
                monitor_pid=pid,
                monitor_start=start,
                boot_id=realm,
                auto_remove=int(volumes),  # so that whoever must finish this knows
            )
        if taken:
            step("removing")
            remove_container(store, container.id, volumes)
        return taken
    finally:
        if held >= 0:
            os.close(held)


def needed_by_others(container: Container, by: list[Container]) -> ConflictError:
    """The error for whoever wants to remove a container that others need."""
    return ConflictError(
        f"removing {container.name}: it has dependent containers which must be removed before it: "
        + ", ".join(one.name for one in by),
        f"all of them at once: rootless rm --depend {container.name}",
    )


def remove_container(
    store: Store,
    container_id: str,
    anonymous_volumes: bool,
    user_namespace: Callable[[], UserNamespace] | None = None,
) -> str | None:
    """Delete all of a container that has no process: its files, its anonymous volumes where asked, its row; with
    `--rmi` its image, or the returned words say why that stays.

    `user_namespace` is how to reach files of other ids (default: the store's).
    """
    from storage.drivers import remove_container_files

    container = records.get(store.db, container_id)
    namespace = user_namespace or store.user_namespace
    _remove_cidfile(store, container_id)
    remove_run_directory(store, container_id)
    step("remove-run-directory")
    remove_container_files(store.layout.container(container_id), namespace)
    step("remove-files")
    if anonymous_volumes:
        _patiently(lambda: _remove_anonymous_volumes(store, container_id))
    failure = None
    if container is not None and '"rmi":' in container.request:
        from rootless.engine.remove_image import delete_with_image

        failure = delete_with_image(store, container)
    else:
        _patiently(lambda: records.delete(store.db, container_id))
    if container is not None:
        from rootless.engine.events import container_event

        container_event(store, container, "remove")
    return failure


def _remove_cidfile(store: Store, container_id: str) -> None:
    row = store.db.execute(
        "SELECT request FROM containers WHERE id = ? AND instr(request, '\"cidfile\"')", (container_id,)
    ).fetchone()
    if row is not None:
        from rootless.engine.id_files import remove_cidfile
        from rootless.jsontext import loads

        remove_cidfile(loads(row[0])["cidfile"], container_id)


def _patiently(change: Callable[[], None]) -> None:
    """Make a change of the database. On a full disk the room of the deleted files comes back a moment later, when the
    kernel has taken the container's mounts apart: that is waited for."""
    for _ in range(_PATIENCE):
        try:
            change()
            return
        except DiskFullError:
            time.sleep(_PAUSE)
    change()


def _remove_anonymous_volumes(store: Store, container_id: str) -> None:
    rows = store.db.execute(
        "SELECT name FROM volumes JOIN container_volumes ON volume = name WHERE container_id = ? AND anonymous = 1",
        (container_id,),
    ).fetchall()
    if rows:
        from storage.volumes.rows import forget_volumes

        forget_volumes(store, [name for (name,) in rows], removed=container_id)
