"""All of a container's extra mounts, planned when it is made, as mounts of the OCI configuration and as `inspect` shows
them. What "rootless" in one of those says is for our runtime alone (`rootless.runtime.special`).

Cold: a container without any of them never loads this.
"""

from __future__ import annotations

import os
from typing import Any

from rootless.engine.request import CreateRequest
from rootless.engine.volumes.words import PROPAGATION, Mount, parse_tmpfs, parse_volume, refuse_to_give
from rootless.errors import UsageError
from storage.store import Store

_SAFE = (("nosuid", "suid"), ("nodev", "dev"))


class Planned:
    """`mounts` in OCI's terms, `shown` in those of `inspect`; `volumes`: (name, anonymous, labels, settings) of those
    that it has; `copied`: destinations that are filled from the image; `layers`: diffIDs of the images that it mounts.
    """

    __slots__ = ("copied", "layers", "mounts", "shown", "volumes")

    def __init__(self, mounts: list[Mount], directory: str) -> None:
        self.mounts = [as_oci(mount, directory) for mount in mounts]
        self.shown = [shown for mount in mounts if (shown := as_inspected(mount, directory)) is not None]
        volumes = [mount for mount in mounts if mount.kind == "volume"]
        self.volumes = {mount.source: (mount.anonymous, mount.labels, mount.settings) for mount in reversed(volumes)}
        self.copied = [mount.destination for mount in volumes if mount.copy]
        self.layers = [diff_id for mount in mounts for diff_id in mount.more.get("layers", ())]


def plan_for(store: Store, request: CreateRequest, image: dict[str, Any]) -> Planned:
    """The mounts of a container that is about to be made. Raises UsageError, NotFoundError."""
    inherited: list[Mount] = []
    if request.volumes_from:
        from rootless.engine.volumes.others import inherited_mounts

        inherited = inherited_mounts(store, request.volumes_from)
    mounts = plan(request, image, inherited)
    for mount in mounts:
        if mount.kind == "image":
            _resolve_image(store, mount)
        elif mount.kind == "volume" and mount.settings:
            _check_settings(store, mount)
        if mount.more.get("chown") and "overlay" not in mount.more:
            _check_gift(store, mount)
    return Planned(mounts, store.layout.volumes)


def plan(request: CreateRequest, image: dict[str, Any], inherited: list[Mount] | None = None) -> list[Mount]:
    """One mount per destination: the user's win over those of other containers, these over the image's VOLUMEs.

    Volumes without a name are given a random one. Raises UsageError, NotFoundError.
    """
    found: dict[str, Mount] = {}
    given = [parse_volume(text) for text in request.volume]
    if request.mount:
        from rootless.engine.volumes.mount_words import parse_mount

        given += [mount for text in request.mount for mount in parse_mount(text)]
    given += [parse_tmpfs(text) for text in request.tmpfs]
    for mount in given:
        if mount.destination in found:
            raise UsageError(f"two mounts on {mount.destination} in the container", "leave one of them out")
        found[mount.destination] = mount
    for mount in inherited or ():
        found.setdefault(mount.destination, mount)
    for mount in _image_volumes(image.get("Volumes") or {}, request.image_volume or "anonymous"):
        found.setdefault(mount.destination, mount)
    for place, mount in enumerate(found.values()):
        if mount.kind == "volume" and not mount.source:
            mount.source = os.urandom(32).hex()
            mount.anonymous = True
        if "overlay" in mount.more or mount.kind == "image":
            mount.more["place"] = place  # the directory of what it writes, below the container's
    return list(found.values())


def _image_volumes(paths: dict[str, Any], treatment: str) -> list[Mount]:
    if treatment == "ignore":
        return []
    kind = "tmpfs" if treatment == "tmpfs" else "volume"
    options = ["tmpcopyup"] if kind == "tmpfs" else []
    found = [(path if path.startswith("/") else "/" + path, f"the image's volume {path!r}") for path in paths]
    return [Mount(kind, "", path, list(options), where) for path, where in found]


def _resolve_image(store: Store, mount: Mount) -> None:
    from rootless.errors import NotFoundError
    from storage.lookup import find_image

    if mount.more.get("layers"):
        return  # another container's
    image = find_image(store.db, mount.source)
    if image is None:
        raise NotFoundError(
            f"mounting the image {mount.source} on {mount.destination}: there is no such image here",
            f"rootless pull {mount.source}",
        )
    mount.more["layers"] = list(image.diff_ids)


def _check_settings(store: Store, mount: Mount) -> None:
    """A volume is made with its options, and keeps them: others for one that is there would be ignored."""
    from rootless.jsontext import loads

    row = store.db.execute("SELECT options FROM volumes WHERE name = ?", (mount.source,)).fetchone()
    if row is not None and loads(row[0]) != mount.settings:
        raise UsageError(
            f"mounting the volume {mount.source}: it exists, with other options than volume-opt asks for",
            "leave volume-opt out, or take another name",
        )


def _check_gift(store: Store, mount: Mount) -> None:
    """What U may not give away it may not either through a link or a volume; the store lets go of volumes alone."""
    source = mount.source
    if mount.kind == "volume":
        from rootless.jsontext import loads
        from storage.volumes.options import VolumeSettings

        row = store.db.execute("SELECT options FROM volumes WHERE name = ?", (mount.source,)).fetchone()
        settings = VolumeSettings(loads(row[0]) if row else mount.settings)
        source = settings.device if settings.kind == "bind" else ""
    if source and mount.kind in ("bind", "volume"):
        if os.path.realpath(source).startswith(os.path.realpath(store.layout.volumes) + "/"):
            return
        refuse_to_give(source, f"mounting {mount.source} on {mount.destination}", store.root)


def as_oci(mount: Mount, volume_directory: str) -> dict[str, Any]:
    """The mount in the terms of the OCI configuration; `volume_directory` is <root>/volumes."""
    found: dict[str, Any] = {"destination": mount.destination, "type": mount.kind, "source": mount.kind}
    options = list(mount.options)
    if mount.kind in ("tmpfs", "ramfs"):
        options = ["nosuid", "nodev", *options]
        if not any(option.startswith("mode=") for option in options):
            options.append("mode=1777")
    elif mount.kind == "image":
        found["source"] = mount.source
        options = ["rbind", "rprivate", *options]
    elif mount.kind != "devpts":
        bind = mount.kind == "bind"
        found |= {"type": "bind", "source": mount.source if bind else f"{volume_directory}/{mount.source}/_data"}
        if "bind" not in options and "rbind" not in options:
            options.insert(0, "rbind")
        if not bind:  # as Podman: nobody expects programs with rights, or devices, in a volume
            options = [no for no, yes in _SAFE if no not in options and yes not in options] + options
        if not any(option in PROPAGATION for option in options):
            options.append("rprivate")
    found["options"] = options
    if mount.more:
        found["rootless"] = mount.more
    return found


def as_inspected(mount: Mount, volume_directory: str) -> dict[str, Any] | None:
    """The entry of `inspect`'s Mounts; None for what has no source, which Podman does not list there."""
    if mount.kind in ("tmpfs", "ramfs", "devpts"):
        return None
    oci = as_oci(mount, volume_directory)
    shown: dict[str, Any] = {"Type": mount.kind}
    if mount.kind == "volume":
        shown["Name"] = mount.source
    shown |= {
        "Source": oci["source"],
        "Destination": mount.destination,
        "Driver": "local" if mount.kind == "volume" else "",
        "Mode": mount.more.get("relabel", ""),
        "Options": [option for option in oci["options"] if option not in (*PROPAGATION, "ro", "rw", "suid", "dev")],
        "RW": "ro" not in mount.options,
        "Propagation": next((option for option in oci["options"] if option in PROPAGATION), "rprivate"),
    }
    if mount.kind == "image":
        shown |= {"Options": None, "Propagation": ""}
    elif mount.kind == "volume" and not mount.copy and "subpath" not in mount.more:
        shown["Options"].insert(0, "nocopy")
    if "subpath" in mount.more:
        shown["SubPath"] = mount.more["subpath"]
    return shown
