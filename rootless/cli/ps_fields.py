"""What `ps --format` can name, its JSON, and the table of namespaces."""

from __future__ import annotations

import os
import time

from rootless.cli.output import ago, go_time, short, table
from rootless.cli.ps_words import cut, ports, size_words, status
from rootless.cli.template.values import Structure
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Opts
    from rootless.engine.records import Container

    Sizes = dict[str, tuple[int, int]]

HEADINGS = {
    "ID": "CONTAINER ID",
    "CreatedHuman": "CREATED",
    "CIDFile": "CID FILE",
    "Pod": "POD ID",
    "PodName": "PODNAME",
}
_NEVER = -62135596800  # the year 1, which is Go's time that was never set
_NAMESPACES = (  # field, key of the JSON, name below /proc/PID/ns
    ("CGROUPNS", "Cgroup", "cgroup"),
    ("IPC", "Ipc", "ipc"),
    ("MNT", "Mnt", "mnt"),
    ("NET", "Net", "net"),
    ("PIDNS", "Pidns", "pid"),
    ("USERNS", "User", "user"),
    ("UTS", "Uts", "uts"),
)


def fields(container: Container, full: bool, sizes: Sizes, with_namespaces: bool) -> dict[str, Any]:
    """What a template can name: Podman's fields, and Docker's among them."""
    now = time.time()
    labels = loads(container.labels)
    created = ago(container.created, now)
    namespaces = _namespaces(container.pid) if with_namespaces else {}
    found = {
        "ID": container.id if full else short(container.id),
        "Id": container.id,
        "Names": container.name,
        "Image": container.image_name,
        "ImageID": container.image_id,
        "Command": container.command if full else cut(container.command),
        "Created": go_time(container.created),
        "CreatedHuman": created,
        "CreatedAt": go_time(container.created),
        "RunningFor": created,
        "StartedAt": int(container.started) or _NEVER,
        "State": container.state,
        "Status": status(container, now),
        "Health": container.health,
        "Exited": container.state == "exited",
        "ExitedAt": int(container.finished) or _NEVER,
        "ExitCode": container.exit_code,
        "Restarts": container.restarts,
        "Pid": container.pid,
        "Ports": ports(container.ports),
        "ExposedPorts": _exposed(container),
        "Labels": labels,
        "Label": lambda name: labels.get(name, ""),
        "AutoRemove": bool(container.auto_remove),
        "CIDFile": loads(container.request).get("cidfile", ""),
        "Networks": "",
        "Mounts": _mounts(container),
        "LocalVolumes": _volumes(container),
        "Size": size_words(sizes[container.id]) if sizes else "",
        "Pod": "",
        "PodName": "",
        "IsInfra": False,
        "Cgroup": namespaces.get("Cgroup", ""),
        "Namespaces": Structure({key: namespaces.get(key, "") for _, key, _ in _NAMESPACES}),
        **{field: namespaces.get(key, "") for field, key, _ in _NAMESPACES},
    }
    return Structure(found, lambda: as_json(container, sizes, with_namespaces))


def as_json(container: Container, sizes: Sizes, with_namespaces: bool) -> dict[str, Any]:
    """The object of `--format json`, with Podman's keys; times in Unix seconds."""
    now = time.time()
    request = loads(container.request)
    published = [
        {"host_ip": host, "container_port": inside, "host_port": port, "range": 1, "protocol": protocol}
        for host, port, inside, protocol in loads(container.ports)
    ]
    return {
        "AutoRemove": bool(container.auto_remove),
        "Command": request.get("command") or (request.get("image_config") or {}).get("Cmd"),
        "CreatedAt": ago(container.created, now),
        "CIDFile": request.get("cidfile", ""),
        "Exited": container.state == "exited",
        "ExitedAt": int(container.finished) or _NEVER,
        "ExitCode": container.exit_code,
        "ExposedPorts": _exposed(container) or None,
        "Id": container.id,
        "Image": container.image_name,
        "ImageID": container.image_id,
        "IsInfra": False,
        "Labels": loads(container.labels) or None,
        "Mounts": _mounts(container),
        "Names": [container.name],
        "Namespaces": _namespaces(container.pid) if with_namespaces else {},
        "Networks": [],
        "Pid": container.pid,
        "Pod": "",
        "PodName": "",
        "Ports": published or None,
        "Restarts": container.restarts,
        "Size": {"rootFsSize": sizes[container.id][1], "rwSize": sizes[container.id][0]} if sizes else None,
        "StartedAt": int(container.started) or _NEVER,
        "State": container.state,
        "Status": status(container, now),
        "Created": int(container.created),
    }


def namespace_table(containers: list[Container], opts: Opts) -> str:
    """The table of `--ns`: the numbers of the namespaces of each container that runs."""
    headings = ["CONTAINER ID", "NAMES", "PID", *(field for field, _, _ in _NAMESPACES)]
    cells = [] if opts.noheading else [headings]
    for container in containers:
        found = _namespaces(container.pid)
        identifier = container.id if opts.no_trunc else short(container.id)
        cells.append(
            [identifier, container.name, str(container.pid), *(found.get(key, "") for _, key, _ in _NAMESPACES)]
        )
    return table(cells)


def _namespaces(pid: int) -> dict[str, str]:
    """The number of each namespace of a process, by the key of the JSON; nothing where it is gone."""
    found = {}
    for _, key, name in _NAMESPACES if pid else ():
        try:
            link = os.readlink(f"/proc/{pid}/ns/{name}")
        except OSError:
            continue
        found[key] = link.partition("[")[2].rstrip("]")
    return found


def _exposed(container: Container) -> dict[str, list[str]]:
    """Port -> protocols of what --expose and the image name, as Podman has it."""
    from rootless.engine.inspect.network import exposed

    found: dict[str, list[str]] = {}
    for text in exposed(loads(container.request)):
        port, _, protocol = text.partition("/")
        found.setdefault(port, []).append(protocol)
    return found


def _mounts(container: Container) -> list[str]:
    """Where volumes and binds are mounted in the container."""
    return sorted(mount["Destination"] for mount in loads(container.request).get("inspected_mounts", []))


def _volumes(container: Container) -> int:
    """How many volumes it has mounted."""
    return sum(mount["Type"] == "volume" for mount in loads(container.request).get("inspected_mounts", []))
