"""`volume mount` and `unmount`: the files of a volume in this mount namespace.

A directory of the store needs nothing. What a container mounts by itself (memory, a directory of the user's) is mounted
for whoever has a mount namespace that is his: inside `rootless unshare`.
"""

from __future__ import annotations

import os

from rootless.errors import ConflictError, RootlessError
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import UMOUNT_NOFOLLOW, umount
from rootless.runtime.mounting import attach, clone_tree, make_file_system
from rootless.runtime.mountoptions import MountOptions
from storage.layout import Layout
from storage.store import Store
from storage.volumes.options import VolumeSettings
from storage.volumes.rows import Volume, drop_half_made, make_volume_directory


def mount_volume(store: Store, volume: Volume) -> str:
    """Mount the volume where that takes a mount; the path of its files. Raises RootlessError."""
    drop_half_made(store, volume.name)
    path = make_volume_directory(store.layout, volume.name)
    settings = _settings(volume)
    if settings is None or _is_mounted(path):
        return path
    _need_namespace(volume, "mounting")
    try:
        if settings.kind == "tmpfs":
            options = MountOptions(["nosuid", "nodev", *settings.mount])
            tree = make_file_system("tmpfs", "tmpfs", options)
        else:
            tree = clone_tree(settings.device, MountOptions(["rbind", *settings.mount]))
    except SyscallError as error:
        raise RootlessError(f"mounting the volume {volume.name}: {error.message}") from None
    place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        attach(tree, place, path)
    finally:
        os.close(place)
        os.close(tree)
    return path


def unmount_volume(layout: Layout, volume: Volume) -> None:
    """Undo `mount_volume`. Raises ConflictError where something uses it."""
    path = f"{layout.volume(volume.name)}/_data"
    if _settings(volume) is None or not _is_mounted(path):
        return
    _need_namespace(volume, "unmounting")
    try:
        umount(path, UMOUNT_NOFOLLOW)
    except SyscallError as error:
        raise ConflictError(f"unmounting the volume {volume.name}: {os.strerror(error.errno or 0)}") from None


def _settings(volume: Volume) -> VolumeSettings | None:
    """What is to be mounted for the volume; None where it is a directory of the store."""
    if volume.driver != "local":
        return None
    settings = VolumeSettings(volume.options)
    return settings if settings.kind else None


def _need_namespace(volume: Volume, doing: str) -> None:
    if os.geteuid() != 0:
        raise RootlessError(
            f"{doing} the volume {volume.name}: only inside `rootless unshare` can you mount anything",
            f"rootless unshare, and there: rootless volume mount {volume.name}",
        )


def _is_mounted(path: str) -> bool:
    wanted = os.fsencode(path)
    with open("/proc/self/mountinfo", "rb") as file:
        return any(line.split()[4].decode("unicode_escape").encode("latin-1") == wanted for line in file)
