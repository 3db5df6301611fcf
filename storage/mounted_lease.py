"""Leases that live as long as a mount: of an image that is mounted in the mount namespace of `rootless unshare`.

No process of ours lives as long as such a namespace, but an overlay does, and the kernel tells everybody whether a
directory is the upper one of an overlay (`storage.drivers.in_use`). So the lease is a directory <root>/leases/<token>
instead of a file, and its overlay is mounted beside the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from rootless.errors import KernelError
from rootless.kernel.files import lock_file, remove_tree
from rootless.kernel.mounts import mount
from storage.database import transaction
from storage.drivers.in_use import is_written_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.store import Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def protect_while_mounted(store: Store, digests: Iterable[str], target: str) -> None:
    """Keep layers (hex) as long as a mount on the directory `target` is there, which is made. To be called where we may
    mount, with a `Lease` on the layers. Raises KernelError where this kernel has no overlays for users."""
    token = os.urandom(8).hex()
    path = f"{store.layout.root}/leases/{token}"
    os.mkdir(path, 0o700)
    turn = os.open(path, _DIRECTORY)
    lock_file(turn, exclusive=True, blocking=True)  # a collector takes nobody's that is locked
    try:
        os.mkdir(f"{path}/upper", 0o700)
        os.mkdir(f"{path}/work", 0o700)
        os.makedirs(target, 0o700, exist_ok=True)
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(path)
            mount("overlay", target, "overlay", 0, "lowerdir=.,upperdir=upper,workdir=work,userxattr,volatile")
        finally:
            os.fchdir(here)
            os.close(here)
        with transaction(store.db) as connection:
            connection.executemany("INSERT OR IGNORE INTO leases VALUES (?, ?)", [(token, hex) for hex in digests])
    except KernelError:
        remove_tree(path)
        raise
    finally:
        os.close(turn)


def remove_unmounted(store: Store, path: str) -> bool:
    """Remove the lease that the directory `path` is, unless its mount is there (or may be); whether it has gone."""
    try:
        turn = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return True
    try:
        if not lock_file(turn, exclusive=True, blocking=False):
            return False
        if os.path.isdir(f"{path}/upper") and store.user_namespace().run(is_written_to, path, mount_ns=True):
            return False
        remove_tree(path)
        return True
    finally:
        os.close(turn)
