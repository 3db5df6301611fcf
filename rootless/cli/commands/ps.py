"""`ps`: one line for each container."""

from __future__ import annotations

import time

from rootless.cli.failures import warn
from rootless.cli.output import ago, human_duration, human_size, lines, short, table, write
from rootless.engine.recover import refresh_all
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings
    from rootless.engine.records import Container
    from storage.store import Store

    Sizes = dict[str, tuple[int, int]]  # id -> bytes written by it, bytes of its root file system

_HEADINGS = {
    "ID": "CONTAINER ID",
    "CreatedAt": "CREATED AT",
    "CreatedHuman": "CREATED",
    "RunningFor": "CREATED",
    "ExitCode": "EXIT CODE",
    "ImageID": "IMAGE ID",
}
_COMMAND_WIDTH = 17
_NEVER = -62135596800  # the year 1, which is Go's time that was never set


def command(settings: Settings, opts: Opts) -> int:
    """List the containers of the store: those that run, or what the options ask for."""
    store = settings.store()
    containers = _chosen(store, opts)
    sizes = _sizes(store, containers) if opts.size or opts.sort == "size" else {}
    containers = _sorted(containers, opts.sort, sizes)
    if opts.format == "json":
        from rootless.cli.output import pretty_json

        write(pretty_json([_json(container, sizes) for container in containers], "  ") + "\n")
    elif opts.format:
        from rootless.cli.template import rows

        fields = [_fields(container, opts.no_trunc, sizes) for container in containers]
        write(rows(opts.format, fields, _HEADINGS, not opts.noheading))
    elif opts.quiet:
        lines(container.id if opts.no_trunc else short(container.id) for container in containers)
    else:
        write(_table(containers, opts, sizes))
    return 0


def _chosen(store: Store, opts: Opts) -> list[Container]:
    last = 1 if opts.latest else opts.last
    everything = opts.all or last >= 0 or any(text.startswith(("status=", "exited=")) for text in opts.filter)
    containers = refresh_all(store, warn, alive=not everything)
    if last >= 0:
        containers = containers[max(0, len(containers) - last) :]
    if opts.filter:
        from rootless.cli.filters import container_filter

        passes = container_filter(store, opts.filter)
        containers = [container for container in containers if passes(container)]
    return containers


def _sizes(store: Store, containers: list[Container]) -> Sizes:
    from rootless.engine.inspect import sizes

    return {container.id: sizes(store, container) for container in containers}


def _sorted(containers: list[Container], column: str, sizes: Sizes) -> list[Container]:
    if column in ("created", "runningfor"):
        return containers  # the oldest first, as they come
    if column == "size":
        return sorted(containers, key=lambda container: sizes[container.id])
    key = {"id": "id", "image": "image_name", "names": "name", "command": "command", "status": "state"}[column]
    return sorted(containers, key=lambda container: str(getattr(container, key)))


def _table(containers: list[Container], opts: Opts, sizes: Sizes) -> str:
    headings = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    cells = [] if opts.noheading else [[*headings, "SIZE"] if opts.size else headings]
    now = time.time()
    for container in containers:
        cells.append(
            [
                container.id if opts.no_trunc else container.id[:12],
                container.image_name,
                container.command if opts.no_trunc else _cut(container.command),
                ago(container.created, now),
                status(container, now),
                ports(container.ports),
                container.name,
            ]
        )
        if opts.size:
            cells[-1].append(_size(sizes[container.id]))
    return table(cells)


def status(container: Container, now: float) -> str:
    """The state in words: "Up 2 minutes", "Exited (0) 3 hours ago"."""
    state = container.state
    if state == "running":
        up = f"Up {human_duration(now - container.started)}"
        return f"{up} ({container.health})" if container.health else up
    if state == "restarting":
        return f"Restarting ({container.exit_code}) {ago(container.finished, now)}"
    if state == "exited":
        return f"Exited ({container.exit_code}) {ago(container.finished, now)}"
    return state.capitalize()


def ports(text: str) -> str:
    """Published ports (JSON of the column) as "0.0.0.0:8080->80/tcp, ..."."""
    if text == "[]":
        return ""
    return ", ".join(f"{_host(host)}:{port}->{inside}/{protocol}" for host, port, inside, protocol in loads(text))


def _size(pair: tuple[int, int]) -> str:
    """What was written, and the whole root file system."""
    return f"{human_size(pair[0])} (virtual {human_size(pair[1])})"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address or "0.0.0.0"


def _cut(text: str) -> str:
    return text if len(text) <= _COMMAND_WIDTH + 3 else text[:_COMMAND_WIDTH] + "..."


def _fields(container: Container, full: bool, sizes: Sizes) -> dict[str, Any]:
    """What `--format` can name."""
    from rootless.cli.output import go_time
    from rootless.cli.template.values import Structure

    now = time.time()
    labels = loads(container.labels)
    created = ago(container.created, now)
    fields = {
        "ID": container.id if full else short(container.id),
        "Id": container.id,
        "Names": container.name,
        "Image": container.image_name,
        "ImageID": container.image_id,
        "Command": container.command if full else _cut(container.command),
        "Created": go_time(container.created),
        "CreatedHuman": created,
        "CreatedAt": go_time(container.created),
        "RunningFor": created,
        "StartedAt": int(container.started),
        "State": container.state,
        "Status": status(container, now),
        "Exited": container.state == "exited",
        "ExitedAt": int(container.finished),
        "ExitCode": container.exit_code,
        "Pid": container.pid,
        "Ports": ports(container.ports),
        "Labels": labels,
        "Label": lambda name: labels.get(name, ""),
        "AutoRemove": bool(container.auto_remove),
        "Networks": "",
        "Mounts": _mounts(loads(container.request)),
        "Size": _size(sizes[container.id]) if sizes else "",
        "Pod": "",
        "PodName": "",
    }
    return Structure(fields, lambda: _json(container, sizes))


def _json(container: Container, sizes: Sizes) -> dict[str, Any]:
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
        "ExposedPorts": None,
        "Id": container.id,
        "Image": container.image_name,
        "ImageID": container.image_id,
        "IsInfra": False,
        "Labels": loads(container.labels) or None,
        "Mounts": _mounts(request),
        "Names": [container.name],
        "Namespaces": {},
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


def _mounts(request: dict[str, Any]) -> list[str]:
    """Where volumes and binds are mounted in the container."""
    return [mount["Destination"] for mount in request.get("inspected_mounts", [])]
