"""Finds out which drivers work here, by using them: a kernel's version says little about what it lets us do."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import Any

from rootless import jsontext
from rootless.errors import KernelError, RootlessError, StorageError
from rootless.kernel.files import remove_tree
from rootless.kernel.idmaps import default_user_map
from rootless.kernel.mounts import MNT_DETACH, umount
from rootless.kernel.userns import UserNamespace
from storage.drivers import BTRFS, DRIVERS, FUSE_OVERLAYFS, OVERLAY, VFS
from storage.drivers.btrfs import make_empty, make_snapshot
from storage.drivers.fuse_overlayfs import INSTALL, PROGRAM, serve_stack
from storage.drivers.overlay import mount_stack
from storage.layout import Layout

HINTS = {
    OVERLAY: "a kernel from 5.11 on mounts overlays for users; else use --storage-driver fuse-overlayfs",
    FUSE_OVERLAYFS: f"{INSTALL} (sudo apt-get install {PROGRAM}, or dnf), and have /dev/fuse readable and writable for "
    "you (sudo modprobe fuse && sudo chmod 0666 /dev/fuse; inside another container: give that one --device /dev/fuse)",
    BTRFS: "keep the store on btrfs: --root DIRECTORY, or ROOTLESS_ROOT",
}

# Snapshots cost a commit of the file system for each container, and share no memory between containers: they come after
# the kernel's overlay. They need no process that serves every file.
_BEST_FIRST = (OVERLAY, BTRFS, FUSE_OVERLAYFS, VFS)


def programs() -> bool:
    """Whether what fuse-overlayfs needs is there."""
    return shutil.which(PROGRAM) is not None and os.access("/dev/fuse", os.R_OK | os.W_OK)


def _missing() -> str:
    """What `programs` misses, in words."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed"
    return "/dev/fuse " + ("may not be opened by us" if os.path.exists("/dev/fuse") else "is not there")


def probe(layout: Layout) -> dict[str, Any]:
    """Try each driver and remember the result in <root>/driver.json: `default`, and `refused` (driver -> reason).

    Raises StorageError where nothing can be written, which says nothing about drivers.
    """
    layout.create()
    try:
        return _probe(layout)
    except RootlessError:
        raise
    except OSError as error:
        raise StorageError(
            f"trying the storage drivers: {os.fsdecode(error.filename or layout.tmp)}: {error.strerror}",
            "the store must be writable and have room: see df, or name another with --root",
        ) from None


def _probe(layout: Layout) -> dict[str, Any]:
    refused: dict[str, str] = {}
    for driver, mount in ((OVERLAY, mount_stack), (FUSE_OVERLAYFS, serve_stack)):
        if driver == FUSE_OVERLAYFS and not programs():
            refused[driver] = _missing()
            continue
        reason = _try(layout, driver, mount)
        if reason is not None:
            refused[driver] = reason
    reason = _try_btrfs(layout)
    if reason is not None:
        refused[BTRFS] = reason
    default = next(driver for driver in _BEST_FIRST if driver not in refused)
    found = {
        "kernel": os.uname().release,
        "root": layout.root,
        "drivers": list(DRIVERS),
        "default": default,
        "refused": refused,
        "programs": programs(),
    }
    temporary = f"{layout.tmp}/driver-{os.urandom(4).hex()}"
    with open(temporary, "w") as file:
        file.write(jsontext.dumps(found) + "\n")
    os.rename(temporary, layout.driver_file)
    return found


def _try(layout: Layout, driver: str, mount: Callable[[dict[str, Any], str], None]) -> str | None:
    """None where the driver works, else why not. Raises KernelError where there are no user namespaces at all."""
    place = f"{layout.tmp}/probe-{os.urandom(4).hex()}"
    namespace = UserNamespace.create(default_user_map())
    os.mkdir(place, 0o700)
    try:
        namespace.run(_round_trip, mount, driver, layout.root, place[len(layout.root) + 1 :], mount_ns=True)
        return None
    except RootlessError as error:
        return error.message
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return f"{error.filename or driver}: {error.strerror}"
    finally:
        if remove_tree(place):
            namespace.run(remove_tree, place)
        namespace.close()


def _try_btrfs(layout: Layout) -> str | None:
    """None where subvolumes and snapshots can be made and removed here, else why not."""
    place = f"{layout.tmp}/probe-{os.urandom(4).hex()}"
    os.makedirs(f"{place}/snapshot", 0o700)
    try:
        make_empty(place)
        make_snapshot(f"{place}/rootfs", f"{place}/snapshot")
        remove_tree(f"{place}/snapshot")
        return "subvolumes cannot be removed again (Linux 4.18)" if os.path.lexists(f"{place}/snapshot") else None
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            return f"{layout.root} is not on btrfs"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return f"making a subvolume: {error.strerror}"
    finally:
        remove_tree(place)


def _round_trip(mount: Callable[[dict[str, Any], str], None], driver: str, root: str, place: str) -> None:
    """Two layers, where the upper hides a file and a directory's content; then a deletion and a copy-up by use."""
    os.umask(0)
    base = f"{root}/{place}"
    for name in ("low/dir", "high/dir", "upper", "work", "view"):
        os.makedirs(f"{base}/{name}")
    for name in ("low/hidden", "low/dir/hidden", "low/kept", "low/removed"):
        os.close(os.open(f"{base}/{name}", os.O_WRONLY | os.O_CREAT, 0o644))
    os.mknod(f"{base}/high/hidden", stat.S_IFCHR, 0)
    os.setxattr(f"{base}/high/dir", "user.overlay.opaque", b"y")
    view = f"{base}/view"
    mount(
        {
            "driver": driver,
            "root": root,
            "lower": [f"{place}/high", f"{place}/low"],
            "container": place,
            "volatile": False,
        },
        view,
    )
    try:
        if sorted(os.listdir(view)) != ["dir", "kept", "removed"] or os.listdir(f"{view}/dir"):
            raise StorageError("whiteouts of a layer are not understood")
        os.unlink(f"{view}/removed")
        with open(f"{view}/kept", "a") as file:
            file.write("more")
        os.rmdir(f"{view}/dir")
        os.mkdir(f"{view}/dir")
        if sorted(os.listdir(view)) != ["dir", "kept"] or os.listdir(f"{view}/dir"):
            raise StorageError("deletions are not kept")
        if driver == OVERLAY and not _is_whiteout(f"{base}/upper/removed"):
            raise StorageError("deletions are kept in a form that others do not understand")
    finally:
        try:
            umount(view, MNT_DETACH)
        except KernelError:
            pass


def _is_whiteout(path: str) -> bool:
    found = os.lstat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
