"""Deleting a whole store, also one whose database nobody can read, and nothing that is not a store's.

A directory is taken for a store where it has what every store has; of what is in it, only names that a store uses are
deleted. The database goes first: whoever comes in between finds an empty store, whose layers are garbage. What a store
is recognized by goes last, so that a reset that was killed can be done again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from rootless.errors import StorageError
from rootless.faults import step
from rootless.kernel.files import remove_tree
from rootless.kernel.userns import UserNamespace
from storage.layout import Layout

_DATABASE = "db.sqlite"
_LAST = ("blobs", "layers")
_DIRECTORIES = ("containers", "volumes", "bases", "events", "secrets", "seccomp", "leases", "tmp", *_LAST)
_FILES = ("defaults", "driver.json", "reserve")
_CHOOSE = "name the store with --root (nothing was deleted)"


def recognize(root: str) -> list[str] | None:
    """The names in the store at `root` that are not a store's, and will be left; None where there is no such directory.

    Raises StorageError where it is no store of ours: a link, somebody else's, or a directory with other things in it.
    """
    try:
        found = os.lstat(root)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"deleting the store {root}: {error.strerror}", _CHOOSE) from None
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"deleting the store {root}: it is not a directory", _CHOOSE)
    if found.st_uid != os.geteuid():
        raise StorageError(f"deleting the store {root}: it belongs to uid {found.st_uid}, not to us", _CHOOSE)
    layout = Layout(root)
    names = os.listdir(root)
    others = sorted(name for name in names if not _is_ours(name))
    whole = _is_directory(layout.layers) and _is_directory(layout.blobs)
    rest = not others and (_DATABASE in names or _is_bare(root, names))
    if not whole and not rest:
        raise StorageError(
            f"deleting the store {root}: it does not look like a store of rootless (no layers/ and blobs/sha256/)",
            _CHOOSE,
        )
    return others


def _is_ours(name: str) -> bool:
    return name in _DIRECTORIES or name in _FILES or name == _DATABASE or name.startswith(_DATABASE + "-")


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_bare(root: str, names: list[str]) -> bool:
    """Whether there is nothing in it but empty directories: what is left when the end of a reset was killed."""
    return all(_is_directory(f"{root}/{name}") and not os.listdir(f"{root}/{name}") for name in names)


def delete_store(root: str, user_namespace: Callable[[], UserNamespace]) -> None:
    """Delete the store at `root`, which `recognize` has taken for one. Raises StorageError where some of it stays."""
    names = os.listdir(root)
    # the log before its database: a new one would take it for its own
    databases = sorted((name for name in names if name.startswith(_DATABASE)), key=len, reverse=True)
    for name in [*databases, *(name for name in (*_FILES, *_DIRECTORIES) if name not in _LAST)]:
        _delete(f"{root}/{name}", user_namespace)
        step(f"reset-{name}")
    for name in _LAST:
        below = f"{root}/{name}/sha256" if name == "blobs" else f"{root}/{name}"
        for entry in os.listdir(below) if _is_directory(below) else ():
            _delete(f"{below}/{entry}", user_namespace)
        step(f"reset-in-{name}")
    for name in _LAST:
        _delete(f"{root}/{name}", user_namespace)
        step(f"reset-{name}")
    try:
        os.rmdir(root)
    except OSError:
        pass  # other things are in it, or it is a mount point


def _delete(path: str, user_namespace: Callable[[], UserNamespace]) -> None:
    """As ourselves, and what belongs to subordinate ids inside the user namespace. Links are not followed."""
    if not os.path.lexists(path) or not remove_tree(path):
        return
    left = user_namespace().run(remove_tree, path)
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise StorageError(
            f"deleting {left[0]}: not permitted{more}",
            "it belongs to an id that is not mapped now, or is mounted: `rootless doctor` tells of the ids",
        )
