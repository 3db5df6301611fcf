"""Bases: the layers of an image applied one over another, once, for all who need them so.

A base is <root>/bases/<chainID>/rootfs, on btrfs a subvolume. It is made in tmp/ and renamed when it is whole and on
the disk; while one process makes it, others wait. Whoever reads it holds a shared lock on <chainID>; a collector
renames the directory into tmp/ and deletes it only once nobody holds that lock. Images keep bases: `unused` names those
of none.
"""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.kernel.files import lock_file, sync_file_system, sync_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rootless.kernel.userns import UserNamespace
    from storage.layout import Layout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Base:
    """A base that stays as it is until `close`; `path` is its root directory."""

    __slots__ = ("_lock", "path")

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        os.close(self._lock)


def chain_id(diff_ids: Iterable[str]) -> str:
    """The image specification's ChainID (hex) of layers (hex, lowest first)."""
    from _hashlib import openssl_sha256

    chain = ""
    for diff_id in diff_ids:
        chain = openssl_sha256(f"sha256:{chain} sha256:{diff_id}".encode()).hexdigest() if chain else diff_id
    return chain


def base_name(names: Sequence[str]) -> str:
    """The name below bases/ for layers of these names below layers/, of which there is at least one."""
    single = any("." in name for name in names)
    return chain_id([name.partition(".")[0] for name in names]) + (".single" if single else "")


def open_base(layout: Layout, names: Sequence[str], user_namespace: Callable[[], UserNamespace]) -> Base:
    """The base of the layers `names` (below layers/, lowest first), made where it is missing.

    The caller keeps the layers from being collected. Raises StorageError.
    """
    path = f"{layout.bases}/{base_name(names)}"
    while True:
        try:
            lock = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            _make(layout, path, names, user_namespace)
            continue
        lock_file(lock, exclusive=False, blocking=True)
        if _is_at(path, lock):
            return Base(path + "/rootfs", lock)
        os.close(lock)  # a collector has taken it away meanwhile


def _is_at(path: str, descriptor: int) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _make(layout: Layout, path: str, names: Sequence[str], user_namespace: Callable[[], UserNamespace]) -> None:
    """Make a base, or wait until whoever makes it has done so."""
    from rootless.kernel.files import remove_tree
    from storage.drafts import locked_directory

    try:
        turn = os.open(layout.layer(names[-1]), _DIRECTORY)
    except OSError as error:
        what = f"using the layer {names[-1][:12]}: {error.strerror}"
        raise StorageError(what, "pull or load the image again") from None
    try:
        lock_file(turn, exclusive=True, blocking=True)
        if os.path.isdir(path):
            return
        place, draft = locked_directory(layout, "base-")
        try:
            user_namespace().run(_fill, f"{place}/rootfs", [layout.diff(name) for name in names])
            os.makedirs(layout.bases, 0o700, exist_ok=True)
            os.rename(place, path)
            sync_path(layout.bases)
        except OSError as error:
            raise StorageError(f"making {path}: {error.strerror}") from None
        finally:
            if os.path.lexists(place) and remove_tree(place):
                user_namespace().run(remove_tree, place)
            os.close(draft)
    finally:
        os.close(turn)


def _fill(target: str, diffs: list[str]) -> None:
    from storage.drivers.chain import apply_chain

    os.umask(0)
    make_root(target)
    apply_chain(diffs, target)
    descriptor = os.open(target, _DIRECTORY)
    sync_file_system(descriptor)
    os.close(descriptor)


def make_root(target: str) -> bool:
    """Make an empty directory with mode 0755: a subvolume where that is possible, which is told."""
    from rootless.kernel.btrfs import create_subvolume

    parent, _, name = target.rpartition("/")
    directory = os.open(parent, _DIRECTORY)
    try:
        create_subvolume(directory, name)
        os.chmod(target, 0o755)
        return True
    except OSError:
        os.mkdir(target, 0o755)
        return False
    finally:
        os.close(directory)


def unused(layout: Layout, chains: Iterable[Sequence[str]]) -> list[str]:
    """Names below bases/ that belong to none of these lists of layers (diffIDs, lowest first)."""
    try:
        names = os.listdir(layout.bases)
    except FileNotFoundError:
        return []
    wanted = {chain_id(chain) for chain in chains} if names else set()
    return [name for name in names if name.partition(".")[0] not in wanted]
