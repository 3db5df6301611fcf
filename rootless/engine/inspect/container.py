"""`inspect` of a container: Podman's structure, from the row, the configuration on disk and the image's summary."""

from __future__ import annotations

from rootless.engine.bundle import read_config
from rootless.engine.cleanup import run_directory
from rootless.engine.exec_sessions import sessions
from rootless.engine.inspect.network import network_settings
from rootless.engine.inspect.settings import host_settings, process_settings
from rootless.engine.records import dependencies
from rootless.errors import StorageError
from rootless.jsontext import loads
from rootless.times import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store


# Options that `inspect.particulars` shows.
_UNUSUAL = {"cgroupns", "device", "domainname", "hosts_file", "ipc", "no_hostname", "oom_score_adj"} | {
    *("passwd", "pid", "publish_all", "secret", "tz", "umask", "uts"),
}
# How the options begin that `inspect.limits` shows.
_CONFINING = ("blkio_", "cgroup_", "cpu", "device_", "memory", "oom_kill", "pids_")


def inspect_container(store: Store, container: Container, size: bool = False) -> dict[str, Any]:
    """Everything that is known of a container, with Podman's keys (Docker's are among them)."""
    request = loads(container.request)
    directory = store.layout.container(container.id)
    config = _read_config(directory)
    process = config.get("process") or {}
    args = process.get("args") or []
    ports = loads(container.ports)
    host = host_settings(store, container, request, config, ports)
    found: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": args[0] if args else "",
        "Args": args[1:],
        "State": _state(store, container, request.get("health")),
        "Image": container.image_id,
        "ImageDigest": _image_digest(store, container),
        "ImageName": container.image_name,
        "Rootfs": request["image"].removesuffix(":O") if request.get("rootfs") else "",
        "Pod": "",
        "ResolvConfPath": _live(store, container, "resolv.conf"),
        "HostnamePath": _live(store, container, "hostname"),
        "HostsPath": _live(store, container, "hosts"),
        "LogPath": host["LogConfig"]["Path"],
        "StaticDir": directory,
        "OCIConfigPath": directory + "/config.json",
        "OCIRuntime": "rootless",
        "ConmonPidFile": request.get("conmon_pidfile", ""),
        "PidFile": request.get("pidfile", ""),
        "Name": container.name,
        "Driver": container.driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "RestartCount": container.restarts,
        "EffectiveCaps": (process.get("capabilities") or {}).get("effective"),
        "BoundingCaps": (process.get("capabilities") or {}).get("bounding"),
        "ExecIDs": sessions(store, container.id) if container.alive else [],
        "GraphDriver": _graph_driver(store, container, directory),
        "Mounts": request.get("inspected_mounts", []),
        "Dependencies": dependencies(store.db, container.id),
        "NetworkSettings": network_settings(container, ports, request),
        "Namespace": "",
        "IsInfra": False,
        "IsService": False,
        "Config": process_settings(container, request, config, ports),
        "HostConfig": host,
        "UseImageHosts": request.get("no_hosts", False),
        "UseImageHostname": False,
    }
    if not _UNUSUAL.isdisjoint(request):
        from rootless.engine.inspect.particulars import add

        add(found, request, config)
    if container.cgroup or any(name.startswith(_CONFINING) for name in request):
        from rootless.engine.inspect.limits import add as add_limits

        add_limits(found, container, request)
    if size:
        found["SizeRw"], found["SizeRootFs"] = sizes(store, container)
    return found


def _read_config(directory: str) -> dict[str, Any]:
    try:
        return read_config(directory, "replace")
    except StorageError:  # a crash before it was written
        return {}


def _image_digest(store: Store, container: Container) -> str:
    """The digest of the image's manifest; "" where the image has been removed."""
    row = store.db.execute("SELECT manifest_digest FROM images WHERE id = ?", (container.image_id,)).fetchone()
    return row[0] if row else ""


def _live(store: Store, container: Container, name: str) -> str:
    return f"{run_directory(store, container.id)}/{name}" if container.alive else ""


def _state(store: Store, container: Container, plan: dict[str, Any] | None) -> dict[str, Any]:
    health = None
    if plan and container.health:
        from rootless.engine.health.results import shown

        health = shown(store, container, plan)
    return {
        "OciVersion": "1.1.0",
        "Status": container.state,
        "Running": container.state in ("running", "stopping"),
        "Paused": container.state == "paused",
        "Restarting": container.state == "restarting",
        "OOMKilled": bool(container.oom_killed),
        "Dead": False,
        "Pid": container.pid,
        "ConmonPid": container.monitor_pid,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started),
        "FinishedAt": rfc3339(container.finished),
        "Health": health,
        "Healthcheck": health,  # as Podman 4 and many templates call it
        "CgroupPath": "",
        "CheckpointedAt": rfc3339(0),
        "RestoredAt": rfc3339(0),
    }


def _graph_driver(store: Store, container: Container, directory: str) -> dict[str, Any]:
    data = {"MergedDir": directory + "/merged", "UpperDir": directory + "/upper", "WorkDir": directory + "/work"}
    if container.driver in ("btrfs", "vfs"):
        data = {"MergedDir": directory + "/rootfs"}
    else:
        from rootless.engine.records import layers_of

        layers = [store.layout.diff(diff_id) for diff_id in reversed(layers_of(store.db, container.id))]
        data["LowerDir"] = ":".join(layers)
    return {"Name": container.driver, "Data": data}


def sizes(store: Store, container: Container) -> tuple[int, int]:
    """Bytes that the container has written, and those of its whole root file system."""
    from storage.drivers.sizes import written_bytes

    written = written_bytes(container.driver, store.layout.container(container.id), store.user_namespace)
    row = store.db.execute("SELECT size FROM images WHERE id = ?", (container.image_id,)).fetchone()
    return written, written + (row[0] if row else 0)
