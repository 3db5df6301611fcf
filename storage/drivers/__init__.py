"""Storage drivers: how a container's root file system comes out of the layers. All share one store.

    overlay          the kernel's overlay file system in the container's user namespace
    fuse-overlayfs   the same by a process, where the kernel's is refused
    btrfs            a snapshot of a subvolume that holds all layers, where the store lies on btrfs
    vfs              a copy of all layers for each container, by reflink where the file system has it

`choose_driver` decides, `prepare` makes what the container needs on disk, `rootfs_plan` says in plain values how to
mount it, `mount_rootfs` does so inside the container's namespaces, `remove_container_files` deletes it.
"""

from __future__ import annotations

import os

import rootless
from rootless import jsontext
from rootless.errors import StorageError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rootless.kernel.userns import UserNamespace
    from storage.layout import Layout

OVERLAY = "overlay"
FUSE_OVERLAYFS = "fuse-overlayfs"
BTRFS = "btrfs"
VFS = "vfs"
DRIVERS = (OVERLAY, FUSE_OVERLAYFS, BTRFS, VFS)
WHOLE = (BTRFS, VFS)  # a container has all its files in a directory of its own, nothing is stacked

UNMAPPED = (
    "where it belongs to an id that is not mapped now (no_new_privs, no newuidmap), do this where it is: "
    "`rootless doctor` tells"
)


def check_name(requested: str | None) -> None:
    """Raise UsageError where a driver of another name than ours is asked for."""
    if requested is not None and requested not in DRIVERS:
        raise UsageError(f"storage driver {requested!r}: not known", f"choose one of {', '.join(DRIVERS)}")


def choose_driver(layout: Layout, requested: str | None) -> str:
    """The driver to use: `requested` where it is named, else the best that works here.

    What works is tried once and remembered in <root>/driver.json until the kernel changes, or until the programs that
    drivers need come or go. Raises UsageError for an unknown name, StorageError where the requested one cannot work.
    """
    check_name(requested)
    found = _remembered(layout)
    remembered = found is not None
    if found is None:
        from storage.drivers.probe import probe

        found = probe(layout)
    if rootless.debug:
        known = [f"remembered in {layout.driver_file}" if remembered else "tried now"]
        known += [f"{name} refused: {why}" for name, why in found["refused"].items()]
        rootless.debug(f"storage driver: best is {found['default']}, asked for {requested} ({'; '.join(known)})")
    if requested is None:
        return str(found["default"])
    reason = found["refused"].get(requested)
    if reason is not None:
        from storage.drivers.probe import HINTS, probe

        reason = probe(layout)["refused"].get(requested)  # something may have been mended since
        if reason is not None:
            raise StorageError(f"storage driver {requested}: {reason}", HINTS.get(requested))
    return requested


def _remembered(layout: Layout) -> dict[str, Any] | None:
    try:
        with open(layout.driver_file, "rb", buffering=0) as file:
            found: dict[str, Any] = jsontext.loads(file.read())
        here = found["kernel"] == os.uname().release and found["root"] == layout.root
        valid = here and found["drivers"] == list(DRIVERS) and found["default"] in DRIVERS
        # vfs is the last resort: look each time whether there is something better by now
        if valid and found["default"] == VFS:
            from storage.drivers.probe import programs

            valid = found["programs"] == programs()
        return found if valid and isinstance(found["refused"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare(
    driver: str,
    layout: Layout,
    container_dir: str,
    diff_ids: Sequence[str],
    user_namespace: Callable[[], UserNamespace],
) -> None:
    """Make what a new container of the layers `diff_ids` (hex, bottom first) needs below `container_dir` (exists).

    Raises StorageError; what was made until then is left to `remove_container_files`.
    """
    if driver == VFS:
        from storage.drivers.vfs import build

        build(layout, container_dir, diff_ids, user_namespace)
    elif driver == BTRFS:
        from storage.drivers.btrfs import build_snapshot

        build_snapshot(layout, container_dir, diff_ids, user_namespace)
    else:
        from storage.drivers.overlay import make_upper

        make_upper(layout, container_dir, diff_ids)


def rootfs_plan(
    driver: str,
    layout: Layout,
    container_dir: str,
    diff_ids: Sequence[str],
    read_only: bool = False,
    volatile: bool = False,
) -> dict[str, Any]:
    """How to mount the root file system, for `mount_rootfs`: plain values, which marshal takes.

    `read_only` is for looking at layers: nothing can be written, not even mount points can be made (a read-only
    container needs those; the runtime makes it read-only when they are there). vfs and btrfs mount the container's own
    files so.
    `volatile` is for containers that are removed when they end: what they wrote need not reach the disk.
    """
    if rootless.debug:
        rootless.debug(f"root file system of {container_dir}: {driver} of layers {' '.join(diff_ids) or '(none)'}")
    if driver in WHOLE:
        return {"driver": driver, "rootfs": container_dir + "/rootfs", "read_only": read_only}
    from storage.drivers.overlay import stack_plan

    return stack_plan(driver, layout, container_dir, diff_ids, read_only, volatile)


def mount_rootfs(plan: dict[str, Any], target: str) -> None:
    """Mount what `rootfs_plan` said on the directory `target`, as root of the container's user namespace and in its
    mount namespace. For fuse-overlayfs the caller is outside the container's pid namespace. Raises KernelError,
    StorageError."""
    driver = plan["driver"]
    if driver == OVERLAY:
        from storage.drivers.overlay import mount_stack

        mount_stack(plan, target)
    elif driver == FUSE_OVERLAYFS:
        from storage.drivers.fuse_overlayfs import serve_stack

        serve_stack(plan, target)
    else:
        from storage.drivers.vfs import bind

        bind(plan, target)


def serving_process(driver: str, container_dir: str) -> int | None:
    """Number of the process that serves the mounted root file system, a child of the nearest subreaper; None where the
    kernel does. When it ends before the container does, the container has lost its files."""
    if driver != FUSE_OVERLAYFS:
        return None
    from storage.drivers.fuse_overlayfs import PID_FILE

    with open(f"{container_dir}/{PID_FILE}", "rb", buffering=0) as file:
        return int(file.read())


def remove_container_files(container_dir: str, user_namespace: Callable[[], UserNamespace]) -> None:
    """Delete the container's directory and all that is in it.

    As ourselves first: the user namespace is entered only for what belongs to other ids in it. Raises StorageError.
    """
    from rootless.kernel.files import remove_tree

    if not remove_tree(container_dir) or not os.path.lexists(container_dir):
        return
    if os.path.ismount(container_dir + "/merged"):  # `rootless mount` did that, here
        from rootless.kernel.mounts import MNT_DETACH, umount

        umount(container_dir + "/merged", MNT_DETACH)
    left = user_namespace().run(remove_tree, container_dir)
    if left:
        raise StorageError(f"deleting {left[0]}: not permitted", UNMAPPED)
