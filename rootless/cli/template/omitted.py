"""Fields that Podman's structures always have, and whose JSON is left out while they are empty.

A template may ask for them all the same, as `{{.Config.Entrypoint}}` of an image without one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class GoMap(dict):  # type: ignore[type-arg]
    """A map, though its keys look like the fields of a structure."""


class NilList(list):  # type: ignore[type-arg]
    """Go's nil slice: prints as [], and is null in JSON."""


class NilMap(GoMap):
    """Go's nil map: prints as map[], and is null in JSON."""


_LIST, _MAP = NilList(), NilMap()
_FIELDS: dict[str, dict[str, Any]] = {
    "Config": {
        **dict.fromkeys(("ChrootDirs", "Cmd", "Entrypoint", "Env", "OnBuild", "Secrets", "Shell"), _LIST),
        **dict.fromkeys(("Annotations", "ExposedPorts", "Labels", "Volumes"), _MAP),
        **dict.fromkeys(("SdNotifySocket", "StopSignal", "Timezone", "User", "WorkingDir"), ""),
        **dict.fromkeys(("Healthcheck", "StartupHealthCheck")),
        "ArgsEscaped": False,
        "SystemdMode": False,
    },
    "HostConfig": {"IDMappings": None, "IntelRdtClosID": "", "VolumesFrom": _LIST},
    "State": {
        **dict.fromkeys(("Checkpointed", "Restored", "StoppedByUser"), False),
        **dict.fromkeys(("CheckpointLog", "CheckpointPath", "RestoreLog"), ""),
        "Health": None,
    },
    "container": {"SizeRootFs": 0, "SizeRw": None},
    "image": {"Annotations": _MAP, "HealthCheck": None, "Labels": _MAP, "User": ""},
    "volume": {"Anonymous": False, "GID": 0, "Status": _MAP, "StorageID": "", "Timeout": 0, "UID": 0},
}
PARTS = ("Config", "HostConfig", "State")
_TOLD_BY = {"Mountpoint": "volume", "RootFS": "image", "StaticDir": "container"}  # a key that only this one has


class Part(dict):  # type: ignore[type-arg]
    """What stands under one of the names of PARTS."""

    __slots__ = ("kind",)

    def __init__(self, fields: dict[str, Any], kind: str) -> None:
        super().__init__(fields)
        self.kind = kind


def omitted(value: dict[str, Any]) -> dict[str, Any]:
    """The fields that may be missing in `value`, and what they are then; {} for anything but a known structure."""
    if isinstance(value, Part):
        return _FIELDS[value.kind]
    return next((_FIELDS[kind] for key, kind in _TOLD_BY.items() if key in value), {})
