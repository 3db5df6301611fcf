"""Root file systems of images and containers, mounted for the user inside `rootless unshare`.

What is mounted is what this mount namespace has. Images are mounted below a tmpfs that covers <runroot>/mounts in it,
so nothing is left when the namespace ends. Containers are mounted on their directories `merged`.
"""

from __future__ import annotations

import os
import re
from typing import Any

import rootless
from rootless.engine.events import container_event
from rootless.engine.records import Container, layers_of
from rootless.engine.recover import find
from rootless.errors import ConflictError, KernelError, NotFoundError, RootlessError
from rootless.kernel.files import lock_file
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import MNT_DETACH, MS_BIND, MS_RDONLY, MS_REMOUNT, mount, umount
from rootless.paths import make_private
from storage.drivers import BTRFS, FUSE_OVERLAYFS, VFS, WHOLE, choose_driver, mount_rootfs, rootfs_plan
from storage.drivers.bases import base_name
from storage.events import emit
from storage.layers.names import layer_names
from storage.lease import Lease
from storage.lookup import Image
from storage.mounted_lease import protect_while_mounted
from storage.store import Store


def mount_image(store: Store, image: Image) -> str:
    """Mount an image read-only unless it is mounted; where. Raises KernelError, StorageError."""
    top = _image_place(store)
    path = f"{top}/{image.id}"
    if path in _mount_points():
        return path
    make_private(store.runroot)
    make_private(top)
    if top not in _mount_points():
        mount("tmpfs", top, "tmpfs", 0, "mode=700")
    os.makedirs(path, 0o755, exist_ok=True)
    with Lease(store) as lease:
        lease.protect(image.diff_ids)
        names = layer_names(store, image.diff_ids)
        if names:
            plan = _image_plan(store, names)
            _protect(
                store, lease, [*image.diff_ids, base_name(names).partition(".")[0]], plan, f"{top}/held/{image.id}"
            )
            mount_rootfs(plan, path)
        else:
            mount(path, path, None, MS_BIND)
            mount(None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    emit(store, "image", "mount", image.id, image.names[0] if image.names else "")
    return path


def _protect(store: Store, lease: Lease, digests: list[str], plan: dict[str, object], place: str) -> None:
    """Keep what an image is mounted of as long as it is, whatever becomes of the image meanwhile."""
    if plan["driver"] == FUSE_OVERLAYFS:  # whose process inherits the lease, and ends with its mount
        lease.bequeath()
        return
    try:
        protect_while_mounted(store, digests, place)
    except KernelError as error:
        if rootless.debug:
            rootless.debug(f"nothing keeps the layers of what is mounted from being removed: {error.message}")


def _image_plan(store: Store, names: list[str]) -> dict[str, object]:
    driver = store.driver
    if driver == VFS:  # it has no such view of its own
        driver = choose_driver(store.layout, None)
    if driver not in WHOLE:
        return rootfs_plan(driver, store.layout, store.layout.tmp, names, read_only=True)
    from storage.drivers.bases import open_base

    base = open_base(store.layout, names, store.user_namespace)
    base.close()
    return {"driver": driver, "rootfs": base.path, "read_only": True}


def mounted_images(store: Store) -> dict[str, str]:
    """Id of each mounted image, and where."""
    top = _image_place(store) + "/"
    return {path[len(top) :]: path for path in _mount_points() if path.startswith(top) and "/" not in path[len(top) :]}


def unmount_image(store: Store, image_id: str, force: bool) -> None:
    """Undo `mount_image`; the tmpfs goes with the last one. Raises ConflictError where it is in use."""
    top = _image_place(store)
    _unmount(f"{top}/{image_id}", force)
    os.rmdir(f"{top}/{image_id}")
    held = f"{top}/held/{image_id}"
    if held in _mount_points():
        umount(held, MNT_DETACH)
        os.rmdir(held)
    if set(os.listdir(top)) <= {"held"} and not (os.path.isdir(f"{top}/held") and os.listdir(f"{top}/held")):
        umount(top, MNT_DETACH)
    emit(store, "image", "unmount", image_id, "")


def mount_container(store: Store, container: Container, tell: object) -> str:
    """Mount a container's root file system unless it is mounted; where.

    One that runs on an overlay, or is mounted elsewhere, is mounted read-only, as two overlays may not write to one
    directory; `tell` says so.
    """
    directory = store.layout.container(container.id)
    path = f"{directory}/merged"
    if path in _mount_points():
        return path
    if container.driver in WHOLE:
        mount_rootfs(rootfs_of(store, container, False), path)
    else:
        _mount_overlay(store, container, path, tell)
    container_event(store, container, "mount")
    return path


def _mount_overlay(store: Store, container: Container, path: str, tell: object) -> None:
    from rootless.engine.files.mount_marks import mark, mounted_by

    directory = os.path.dirname(path)
    why, held = "", -1
    fd = os.open(f"{directory}/config.json", os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            if not lock_file(fd, exclusive=True, blocking=False):
                why = "is running" if find(store, container.id).alive else "is in use"
        except OSError:  # a file system without locks
            why = "is running" if find(store, container.id).alive else ""
        if not why and mounted_by(store, directory):
            why = "is mounted elsewhere"
        if not why:
            held = mark(directory)
        mount_rootfs(rootfs_of(store, container, bool(why)), path)
    except FileNotFoundError:
        raise NotFoundError(f"container {container.name}: its files are not there (any more)") from None
    finally:
        os.close(fd)
        if held >= 0:
            os.close(held)
    if why and callable(tell):
        tell(f"{container.name} {why}: mounted read-only")


def rootfs_of(store: Store, container: Container, read_only: bool) -> dict[str, Any]:
    """How to mount a container's files (`mount_rootfs`). With `read_only` they are not written to, and may be mounted
    elsewhere. Raises StorageError."""
    names = layer_names(store, layers_of(store.db, container.id))
    directory = store.layout.container(container.id)
    plan = rootfs_plan(container.driver, store.layout, directory, names, read_only=read_only)
    if read_only and container.driver not in WHOLE:
        plan["lower"].insert(0, f"containers/{container.id}/upper")
    return plan


def files_of(store: Store, container: Container) -> str | None:
    """Where a container's files are without any mount, or None where its driver stacks them."""
    return f"{store.layout.container(container.id)}/rootfs" if container.driver in (BTRFS, VFS) else None


def mounted_containers(store: Store) -> dict[str, str]:
    """Id of each container that is mounted here, and where."""
    found = {}
    for path in _mount_points():
        match = re.fullmatch(re.escape(store.layout.containers) + "/([0-9a-f]{64})/merged", path)
        if match:
            found[match[1]] = path
    return found


def unmount_container(store: Store, container: Container, force: bool) -> None:
    """Undo `mount_container`. Raises ConflictError where it is not mounted, or in use."""
    path = mounted_containers(store).get(container.id)
    if path is None:
        raise ConflictError(f"unmounting {container.name}: it is not mounted here", "`rootless mount` lists what is")
    _unmount(path, force)
    container_event(store, container, "unmount")


def _unmount(path: str, force: bool) -> None:
    try:
        umount(path, MNT_DETACH if force else 0)
    except SyscallError as error:
        if isinstance(error, OSError) and error.errno == 16:
            raise ConflictError(f"unmounting {path}: files in it are in use", "leave it, or use --force") from None
        raise


def _image_place(store: Store) -> str:
    return f"{store.runroot}/mounts"


def _mount_points() -> set[str]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            fields = [line.split(" ", 5)[4] for line in file]
    except OSError as error:
        raise RootlessError(f"reading /proc/self/mountinfo: {error.strerror}") from None
    return {re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field) for field in fields}
