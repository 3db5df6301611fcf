"""`system reset`: end everything that works on the store, and delete it, whatever state it is in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from rootless.engine import records
from rootless.engine.bundle import is_held
from rootless.engine.stop import stop
from rootless.errors import ConflictError, RootlessError
from rootless.kernel.files import remove_tree
from rootless.kernel.pidfd import open_pidfd, send
from storage.store import Store
from storage.upkeep.reset import delete_store, recognize

_PATIENCE = 10.0  # seconds, for what was killed to be gone
_ID_LENGTH = 64
_SIGKILL = 9


def look(store: Store) -> list[str] | None:
    """What lies in the store's directory and is not a store's; None where there is no store. Raises StorageError where
    it is not one of ours."""
    return recognize(store.root)


def reset(store: Store) -> None:
    """Stop all containers, end all other commands that work on the store, delete it and its run directory.

    Raises ConflictError, with nothing deleted, where a container runs out of our reach; StorageError.
    """
    if recognize(store.root) is not None:
        _stop_containers(store)
        _kill_users(store.root)
        _await_end(store.root)
        delete_store(store.root, store.user_namespace)
    _delete_run_directories(store.runroot)


def _stop_containers(store: Store) -> None:
    """Those that the database tells of, as `stop -t 0` does; what fails here is killed afterwards."""
    try:
        running = records.all_containers(store.db, alive=True)
    except RootlessError:
        return  # nobody can read it: the locks tell who is there
    for container in running:
        try:
            stop(store, container.id, timeout=0)
        except (RootlessError, OSError):
            continue
    store.forget()


def _kill_users(root: str) -> None:
    """Kill whoever has the configuration of a container or a lease open: monitors, and commands that add or read.

    A container ends with its monitor, and what serves it, too."""
    held = {_identity(path) for path in _locked_files(root)}
    held.discard(None)
    for process in os.listdir("/proc"):
        if not process.isdigit() or int(process) == os.getpid():
            continue
        try:
            pidfd = open_pidfd(int(process))
        except OSError:
            continue
        try:
            if held.intersection(_open_files(process)):
                send(pidfd, _SIGKILL)
        except OSError:
            pass  # not ours, or just gone
        finally:
            os.close(pidfd)


def _locked_files(root: str) -> Iterator[str]:
    for directory, ending in ((f"{root}/containers", "/config.json"), (f"{root}/leases", "")):
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        yield from (f"{directory}/{name}{ending}" for name in names)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_files(process: str) -> set[tuple[int, int] | None]:
    """Device and inode of all files that a process has open."""
    return {_identity(f"/proc/{process}/fd/{number}") for number in os.listdir(f"/proc/{process}/fd")} - {None}


def _await_end(root: str) -> None:
    """Wait until nobody holds a container any more."""
    directory = f"{root}/containers"
    deadline = time.monotonic() + _PATIENCE
    names = os.listdir(directory) if os.path.isdir(directory) else []
    while True:
        names = [name for name in names if is_held(f"{directory}/{name}")]
        if not names:
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"deleting the store {root}: a process that cannot be seen here has the container {names[0][:12]}",
                "stop it where it was started (another machine, or outside of this container or sandbox)",
            )
        time.sleep(0.01)


def _delete_run_directories(runroot: str) -> None:
    directory = f"{runroot}/containers"
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        if len(name) == _ID_LENGTH:
            remove_tree(f"{directory}/{name}")
    for path in (directory, runroot):
        try:
            os.rmdir(path)
        except OSError:
            return  # something else is in it
