"""What `inspect` shows of options that few containers have. Loaded where one of them was used."""

from __future__ import annotations

from rootless.engine.spec.particulars import split_device
from rootless.engine.spec.secrets import parse_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Option -> key of HostConfig that shows it as it was typed.
_TYPED = {
    "cgroupns": "CgroupMode",
    "hosts_file": "HostsFile",
    "ipc": "IpcMode",
    "pid": "PidMode",
    "publish_all": "PublishAllPorts",
    "uts": "UTSMode",
}


def add(found: dict[str, Any], request: dict[str, Any], config: dict[str, Any]) -> None:
    """Complete what `inspect_container` has found of a container with one of these options."""
    process = config.get("process") or {}
    shown, host = found["Config"], found["HostConfig"]
    for option, key in _TYPED.items():
        if option in request:
            host[key] = request[option]
    host["OomScoreAdj"] = process.get("oomScoreAdj", 0)
    host["Devices"] = [_device(text) for text in request.get("device", [])]
    shown["Domainname"] = config.get("domainname", "")
    shown["Umask"] = f"{(process.get('user') or {}).get('umask', 0o022):04o}"
    if request.get("passwd") is not None:
        shown["Passwd"] = request["passwd"]
    if "tz" in request:
        shown["Timezone"] = request["tz"]
    if "secret" in request:
        uses = [parse_use(text) for text in request["secret"]]
        shown["Secrets"] = [{"Name": use.name, "UID": use.uid, "GID": use.gid, "Mode": use.mode} for use in uses]
    found["UseImageHostname"] = request.get("no_hostname", False)


def _device(text: str) -> dict[str, str]:
    source, place, rights = split_device(text)
    return {"PathOnHost": source, "PathInContainer": place, "CgroupPermissions": rights}
