"""`--volumes-from CONTAINER[:ro|rw|z|Z]`: the binds, volumes and images that another container has."""

from __future__ import annotations

from typing import Any

from rootless.engine.bundle import COPY_UP, read_config
from rootless.engine.recover import find
from rootless.engine.volumes.words import Mount
from rootless.errors import UsageError
from rootless.jsontext import loads
from storage.store import Store

_OPTIONS = ("ro", "rw", "z", "Z")


def inherited_mounts(store: Store, texts: list[str]) -> list[Mount]:
    """What the containers named so have; for a path that several have, the last one's.

    Raises UsageError, NotFoundError for a container that is not there.
    """
    found: dict[str, Mount] = {}
    for text in texts:
        name, _, words = text.partition(":")
        options = [word for word in words.split(",") if word]
        wrong = [word for word in options if word not in _OPTIONS]
        if wrong or {"ro", "rw"} <= set(options) or not name:
            raise UsageError(f"--volumes-from {text}: not understood", "write it like CONTAINER[:ro|rw][,z]")
        for mount in _mounts_of(store, name, options):
            found[mount.destination] = mount
    return list(found.values())


def _mounts_of(store: Store, name: str, options: list[str]) -> list[Mount]:
    container = find(store, name)
    config = read_config(store.layout.container(container.id))
    copied = config["annotations"].get(COPY_UP, "").split("\n")
    by_place = {mount["destination"]: mount for mount in config["mounts"]}
    shown = loads(container.request).get("inspected_mounts", [])
    return [_again(entry, by_place[entry["Destination"]], copied, options) for entry in shown]


def _again(shown: dict[str, Any], oci: dict[str, Any], copied: list[str], options: list[str]) -> Mount:
    """The mount as it was asked for, but read-only or writable as `options` say."""
    kept = list(oci["options"])
    for word in ("ro", "rw"):
        if word in options:
            kept = [option for option in kept if option not in ("ro", "rw")] + [word]
    mount = Mount(shown["Type"], shown.get("Name") or oci["source"], oci["destination"], kept, "--volumes-from")
    mount.copy = mount.destination in copied
    mount.more = dict(oci.get("rootless", {}))
    for word in ("z", "Z"):
        if word in options:
            mount.more["relabel"] = word
    return mount
