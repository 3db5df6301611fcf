"""What the commands about volumes have in common: what is shown of one, and `--filter`."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from rootless.cli.filter_words import every_key, pairs
from rootless.cli.times import moment_of
from rootless.errors import UsageError
from rootless.times import rfc3339
from storage.store import Store
from storage.volumes.options import VolumeSettings
from storage.volumes.rows import Volume, find_volume, never_used

Test = Callable[[Volume], bool]

_SCOPE = "local"

_KEYS = ("after", "anonymous", "dangling", "driver", "label", "label!", "name", "opt", "scope", "since", "until")


def all_described(store: Store, volumes: list[Volume]) -> list[dict[str, Any]]:
    """The objects that `volume inspect` prints, with Podman's keys."""
    from rootless.cli.failures import warn
    from rootless.engine.recover import refresh_all

    used = any(volume.users for volume in volumes)
    running = {container.id for container in refresh_all(store, warn, alive=True)} if used else set()
    return [_described(store, volume, running) for volume in volumes]


def _described(store: Store, volume: Volume, running: set[str]) -> dict[str, Any]:
    unused = never_used(store.layout, volume.name)
    shown: dict[str, Any] = {
        "Name": volume.name,
        "Driver": volume.driver,
        "Mountpoint": f"{store.layout.volume(volume.name)}/_data",
        "CreatedAt": rfc3339(volume.created),
        "Labels": volume.labels,
        "Scope": _SCOPE,
        "Options": volume.options,
    }
    settings = VolumeSettings(volume.options if volume.driver == "local" else {})
    if settings.uid:
        shown["UID"] = settings.uid
    if settings.gid:
        shown["GID"] = settings.gid
    if volume.anonymous:
        shown["Anonymous"] = True
    return shown | {
        "MountCount": sum(user in running for user in volume.users),
        "NeedsCopyUp": unused and settings.copy,
        "NeedsChown": unused and settings.kind == "" and settings.uid is None and settings.gid is None,
    }


def volume_filter(store: Store, filters: list[str]) -> Test:
    """The test that a volume must pass: values of one key are alternatives, but labels must all be there; keys must all
    fit. Raises UsageError for an unknown key or value."""
    return every_key((key, _test(store, key, value)) for key, value in pairs(filters, _KEYS))


def _test(store: Store, key: str, value: str) -> Test:
    if key == "name":
        try:
            search = re.compile(value).search
        except re.error as error:
            raise UsageError(f"filter name={value}: {error}") from None
        return lambda volume: search(volume.name) is not None
    if key in ("dangling", "anonymous"):
        if value.lower() not in ("true", "false", "1", "0"):
            raise UsageError(f"filter {key}={value}: it is true or false")
        wanted = value.lower() in ("true", "1")
        if key == "dangling":
            return lambda volume: (not volume.users) is wanted
        return lambda volume: volume.anonymous is wanted
    if key == "driver":
        return lambda volume: volume.driver == value
    if key == "opt":
        return _with_option(value)
    if key == "scope":
        return lambda volume: value == _SCOPE
    if key == "until":
        limit = moment_of(value)
        return lambda volume: volume.created < limit
    if key in ("since", "after"):
        moment = find_volume(store.db, value).created
        return lambda volume: volume.created > moment
    return _labelled(key, value)


def _with_option(text: str) -> Test:
    name, equals, wanted = text.partition("=")
    return lambda volume: name in volume.options and (not equals or volume.options[name] == wanted)


def _labelled(key: str, text: str) -> Test:
    name, equals, wanted = text.partition("=")

    def has(volume: Volume) -> bool:
        return any(
            fnmatchcase(label, name) and (not equals or fnmatchcase(value, wanted))
            for label, value in volume.labels.items()
        )

    return has if key == "label" else lambda volume: not has(volume)
