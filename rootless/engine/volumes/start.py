"""The extra mounts of a container that is about to start, made ready for pid 1.

Volumes get their directories, and what they lack; images that are mounted get plans of their own.

Cold: a container without any of them never loads this.
"""

from __future__ import annotations

import os
from typing import Any

from rootless.errors import NotFoundError, UsageError
from rootless.jsontext import loads
from storage.drivers import prepare, rootfs_plan
from storage.layers.names import layer_names
from storage.layout import Layout
from storage.store import Store
from storage.volumes.options import VolumeSettings
from storage.volumes.rows import Claim, claim, drop_half_made

_SELINUX = "/sys/fs/selinux/enforce"


class Ready:
    """`mounts`: what pid 1 is to mount. `claims`: to be released when it has. `images`: (plan, place) of root file
    systems that are mounted before, whose places are sources of binds."""

    __slots__ = ("claims", "images", "mounts")

    def __init__(self) -> None:
        self.mounts: list[dict[str, Any]] = []
        self.claims: list[Claim] = []
        self.images: list[tuple[dict[str, Any], str]] = []


def ready_mounts(
    store: Store, container_id: str, driver: str, mounts: list[dict[str, Any]], copied: list[str]
) -> Ready:
    """Make the directories of volumes that are new, and wait for those that others are filling just now.

    A volume that no container has used is given to the container's user; an empty one is filled from the image where
    its destination is one of `copied`. Raises RootlessError.
    """
    ready = Ready()
    begin = store.layout.volumes + "/"
    # In one order everywhere: containers that start side by side wait for one another, never in a circle.
    names = sorted({_volume_of(mount, begin) for mount in mounts} - {""})
    settings = _settings(store, names)
    pending: dict[str, Claim | None] = {}
    try:
        for name in names:
            drop_half_made(store, name)
            if settings[name].kind == "":
                held = pending[name] = claim(store.layout, name)
                if held is not None:
                    ready.claims.append(held)
        for mount in mounts:
            name = _volume_of(mount, begin)
            if name:
                mount = _of_volume(mount, settings[name], pending.pop(name, None), copied)
            if "rootless" in mount:
                mount = _special(store, container_id, driver, mount, ready)
            ready.mounts.append(mount)
    except BaseException:
        for held in ready.claims:
            held.release(used=False)
        raise
    return ready


def _volume_of(mount: dict[str, Any], begin: str) -> str:
    source = str(mount.get("source") or "")
    return source[len(begin) :].partition("/")[0] if mount["type"] == "bind" and source.startswith(begin) else ""


def _settings(store: Store, names: list[str]) -> dict[str, VolumeSettings]:
    found = {}
    for name in names:
        row = store.db.execute("SELECT options FROM volumes WHERE name = ? AND driver = 'local'", (name,)).fetchone()
        found[name] = VolumeSettings(loads(row[0]) if row else {}, f"mounting the volume {name}")
    return found


def _of_volume(
    mount: dict[str, Any], settings: VolumeSettings, held: Claim | None, copied: list[str]
) -> dict[str, Any]:
    """The mount of a volume, with what its own options say and what the container is to give it."""
    more = mount.get("rootless", {})
    plain = "subpath" not in more and "overlay" not in more
    words = ["tmpcopyup"] if mount["destination"] in copied and settings.copy and plain else []
    if settings.kind == "tmpfs":
        if not plain:
            raise UsageError(
                f"mounting a volume on {mount['destination']}: it is in memory, and new for each container",
                "leave O or subpath out",
            )
        options = [word for word in mount["options"] if not word.endswith(("bind", "private", "shared", "slave"))]
        given = any(word.startswith(("mode=", "uid=", "gid=")) for word in settings.mount)
        words = ["tmpcopyup=files"] if words and given else words
        base = ["nosuid", "nodev", *settings.mount, *options, *words]
        return {**mount, "type": "tmpfs", "source": "tmpfs", "options": base}
    options = [*mount["options"], *settings.mount]
    if settings.kind == "bind":
        if not os.path.exists(settings.device):
            raise NotFoundError(f"mounting a volume on {mount['destination']}: {settings.device} is not there any more")
        empty = words and not os.listdir(settings.device)
        return {**mount, "source": settings.device, "options": options + words if empty else options}
    if held is None:
        return {**mount, "options": options}
    owned = settings.uid is not None or settings.gid is not None
    words = ["tmpcopyup=files"] if words and owned else words
    if owned and held.fresh:  # it may have been made on the way, by a container
        mount = {**mount, "rootless": {**more, "owner": [settings.uid or 0, settings.gid or 0]}}
    first = ["firstuse"] if held.fresh and plain and not owned else []
    return {**mount, "options": [*options, *first, *words]}


def _special(store: Store, container_id: str, driver: str, mount: dict[str, Any], ready: Ready) -> dict[str, Any]:
    more = dict(mount["rootless"])
    directory = store.layout.container(container_id)
    if more.get("relabel") and not os.path.exists(_SELINUX):
        del more["relabel"]  # there are no labels here
    if "overlay" in more and "upperdir" not in more["overlay"]:
        more["overlay"] = {"temporary": f"{directory}/{overlay_place(more)}"}
    if mount["type"] == "image":
        stack, place = _image_plan(store, directory, driver, more)
        ready.images.append((stack, place))
        mount = {**mount, "type": "bind", "source": place}
    return {**mount, "rootless": more}


def overlay_place(more: dict[str, Any]) -> str:
    """The directory, below the container's, of what is written to a mount without reaching its source."""
    return f"mount-{more['place']}"


def _image_plan(store: Store, directory: str, driver: str, more: dict[str, Any]) -> tuple[dict[str, Any], str]:
    place = f"{directory}/{overlay_place(more)}"
    layers = layer_names(store, more["layers"])
    return rootfs_plan(driver, store.layout, place, layers, not more["writable"], volatile=True), f"{place}/merged"


def prepare_images(store: Store, layout: Layout, directory: str, mounts: list[dict[str, Any]]) -> None:
    """Make what the images that a new container mounts need on disk, below its `directory`. Raises StorageError."""
    for mount in mounts:
        if mount["type"] != "image":
            continue
        more = mount["rootless"]
        place = f"{directory}/{overlay_place(more)}"
        os.mkdir(place, 0o700)
        os.mkdir(f"{place}/merged", 0o700)
        prepare(store.driver, layout, place, layer_names(store, more["layers"]), store.user_namespace)
