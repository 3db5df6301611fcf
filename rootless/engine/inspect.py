"""`inspect` of a container: Podman's structure, from the row, the configuration on disk and the image's summary."""

from __future__ import annotations

import time

from rootless.engine.bundle import read_config
from rootless.engine.cleanup import run_directory
from rootless.engine.exec_sessions import sessions
from rootless.engine.logplace import NO_FILE, log_path, option
from rootless.engine.records import dependencies
from rootless.engine.restart import shown_policy
from rootless.engine.signals import parse_signal, signal_name
from rootless.engine.stop import DEFAULT_TIMEOUT
from rootless.errors import StorageError
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store


# Options that `inspect_particulars` shows.
_UNUSUAL = {"cgroupns", "device", "domainname", "hosts_file", "ipc", "no_hostname", "oom_score_adj"} | {
    *("passwd", "pid", "publish_all", "secret", "tz", "umask", "uts"),
}

# What nobody limits: the fields of Podman's HostConfig, all of which mean "no limit" or "not asked for".
_NO_LIMITS: dict[str, Any] = {
    "OomScoreAdj": 0,
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "BlkioWeight": 0,
    "BlkioWeightDevice": None,
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "DiskQuota": 0,
    "KernelMemory": 0,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": 0,
    "OomKillDisable": False,
    "PidsLimit": 0,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
    "CgroupConf": None,
}


def inspect_container(store: Store, container: Container, size: bool = False) -> dict[str, Any]:
    """Everything that is known of a container, with Podman's keys (Docker's are among them)."""
    request = loads(container.request)
    directory = store.layout.container(container.id)
    config = _read_config(directory)
    process = config.get("process") or {}
    args = process.get("args") or []
    ports = loads(container.ports)
    found: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": args[0] if args else "",
        "Args": args[1:],
        "State": _state(store, container, request.get("health")),
        "Image": container.image_id,
        "ImageDigest": _image_digest(store, container),
        "ImageName": container.image_name,
        "Rootfs": request["image"] if request.get("rootfs") else "",
        "Pod": "",
        "ResolvConfPath": _live(store, container, "resolv.conf"),
        "HostnamePath": _live(store, container, "hostname"),
        "HostsPath": _live(store, container, "hosts"),
        "LogPath": log_path(store, container.id, request.get("log_opt", [])),
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
        "NetworkSettings": _network_settings(container, ports, request),
        "Namespace": "",
        "IsInfra": False,
        "IsService": False,
        "Config": _config(container, request, config, ports),
        "HostConfig": _host_config(store, container, request, config, ports),
        "UseImageHosts": request.get("no_hosts", False),
        "UseImageHostname": False,
    }
    if not _UNUSUAL.isdisjoint(request):
        from rootless.engine.inspect_particulars import add

        add(found, request, config)
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


def rfc3339(moment: float) -> str:
    """RFC 3339 in UTC; Go's zero time where there was no such moment."""
    if not moment:
        return "0001-01-01T00:00:00Z"
    whole = int(moment)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((moment - whole) * 1e9):09d}Z"


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


def _port_map(ports: list[list[Any]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for host_ip, host_port, container_port, protocol in ports:
        binding = {"HostIp": host_ip or "0.0.0.0", "HostPort": str(host_port)}
        found.setdefault(f"{container_port}/{protocol}", []).append(binding)
    return found


def _network_settings(container: Container, ports: list[list[Any]], request: dict[str, Any]) -> dict[str, Any]:
    network = loads(container.network)
    address = gateway = ""
    length = 0
    if network.get("mode") == "slirp4netns" and container.alive:
        from rootless.engine.networking import slirp_options

        options = slirp_options(network.get("options", ""))
        address, gateway = options.container_address, options.gateway
        length = int(options.cidr.partition("/")[2])
    published: dict[str, Any] = dict.fromkeys(exposed(request))
    published |= _port_map(ports)
    endpoint = {
        "EndpointID": "",
        "Gateway": gateway,
        "IPAddress": address,
        "IPPrefixLen": length,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
    }
    mode = network.get("mode", "")
    return {
        **endpoint,
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": published,
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.pid else "",
        "Networks": {
            mode: {**endpoint, "NetworkID": mode, "DriverOpts": None, "IPAMConfig": None, "Links": None},
        },
    }


def exposed(request: dict[str, Any]) -> list[str]:
    """What the image and --expose say the container listens on, as "80/tcp"."""
    from rootless.engine.networking import exposed_ports

    names = list(request.get("image_config", {}).get("ExposedPorts") or {})
    return sorted(
        {name if "/" in name else name + "/tcp" for name in names} | {*exposed_ports(request.get("expose", []))}
    )


def _config(
    container: Container, request: dict[str, Any], config: dict[str, Any], ports: list[list[Any]]
) -> dict[str, Any]:
    process = config.get("process") or {}
    image = request.get("image_config", {})
    entrypoint = image.get("Entrypoint")
    if "entrypoint" in request:
        from rootless.engine.spec import parse_entrypoint

        entrypoint = parse_entrypoint(request["entrypoint"])
    command = request.get("command") or (None if "entrypoint" in request else image.get("Cmd"))
    attached = [name.lower() for name in request.get("attach", [])]
    return {
        "Hostname": config.get("hostname", ""),
        "Domainname": "",
        "User": request.get("user", ""),
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "Tty": request.get("tty", False),
        "OpenStdin": request.get("interactive", False),
        "StdinOnce": False,
        "Env": process.get("env", []),
        "Cmd": command,
        "Image": container.image_name,
        "Volumes": {path: {} for path in image.get("Volumes") or {}} or None,
        "WorkingDir": process.get("cwd", "/"),
        "Entrypoint": entrypoint,
        "ExposedPorts": {port: {} for port in sorted({*exposed(request), *_port_map(ports)})} or None,
        "OnBuild": None,
        "Labels": loads(container.labels),
        "Annotations": config.get("annotations", {}),
        "StopSignal": signal_name(parse_signal(request.get("stop_signal") or "SIGTERM")),
        "CreateCommand": request.get("create_command"),
        "Timeout": request.get("timeout", 0),
        "StopTimeout": request.get("stop_timeout", DEFAULT_TIMEOUT),
        "Passwd": False,
        "Umask": "0022",
        **_health_config(request.get("health")),
    }


def _log_config(store: Store, container_id: str, request: dict[str, Any]) -> dict[str, Any]:
    driver, options = request.get("log_driver", "k8s-file"), request.get("log_opt", [])
    size = "0B"
    if options:
        from rootless.engine.log_options import shown_size

        size = shown_size(options)
    return {
        "Type": driver,
        "Config": None,
        "Path": "" if driver in NO_FILE else log_path(store, container_id, options),
        "Tag": option(options, "tag"),
        "Size": size,
    }


def _health_config(plan: dict[str, Any] | None) -> dict[str, Any]:
    """What is to be checked, with the names of Podman 5; the times are in nanoseconds."""
    plan = plan or {}
    names = ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
    found = {"Healthcheck": {name: plan[name] for name in names if name in plan}} if plan else {}
    if "Startup" in plan:
        found["StartupHealthCheck"] = plan["Startup"]
    return {
        **found,
        "HealthcheckOnFailureAction": plan.get("OnFailure", "none"),
        "HealthLogDestination": plan.get("LogDestination", "local"),
        "HealthcheckMaxLogCount": plan.get("MaxLogCount", 5),
        "HealthcheckMaxLogSize": plan.get("MaxLogSize", 500),
    }


def _bind(mount: dict[str, Any]) -> str:
    """A mount as `--volume` would write it out."""
    words = ["rw" if mount["RW"] else "ro", mount["Mode"], mount["Propagation"], *mount["Options"]]
    return f"{mount.get('Name') or mount['Source']}:{mount['Destination']}:{','.join(filter(None, words))}"


def _host_config(
    store: Store, container: Container, request: dict[str, Any], config: dict[str, Any], ports: list[list[Any]]
) -> dict[str, Any]:
    from rootless.engine import spec

    network = loads(container.network)
    mode = network.get("mode", "")
    options = network.get("options", "")
    shm = request.get("shm_size")
    binds = [_bind(mount) for mount in request.get("inspected_mounts", []) if mount["Type"] != "image"]
    return {
        **_NO_LIMITS,
        "Binds": binds,
        "CgroupManager": "none",
        "ContainerIDFile": request.get("cidfile", ""),
        "LogConfig": _log_config(store, container.id, request),
        "NetworkMode": f"{mode}:{options}" if options else mode,
        "PortBindings": _port_map(ports),
        "RestartPolicy": shown_policy(container.restart),
        "AutoRemove": bool(container.auto_remove),
        "AutoRemoveImage": request.get("rmi", False),
        "Annotations": config.get("annotations", {}),
        "VolumeDriver": "",
        "VolumesFrom": request.get("volumes_from"),
        "CapAdd": request.get("cap_add", []),
        "CapDrop": request.get("cap_drop", []),
        "Dns": request.get("dns", []),
        "DnsOptions": request.get("dns_option", []),
        "DnsSearch": request.get("dns_search", []),
        "ExtraHosts": request.get("add_host", []),
        "HostsFile": "",
        "GroupAdd": request.get("group_add", []),
        "IpcMode": "private",
        "Cgroup": "",
        "Cgroups": "disabled",
        "CgroupParent": "",
        "Links": None,
        "PidMode": "private",
        "UTSMode": "private",
        "UsernsMode": "",
        "CgroupMode": "private",
        "Privileged": request.get("privileged", False),
        "PublishAllPorts": False,
        "ReadonlyRootfs": request.get("read_only", False),
        "SecurityOpt": request.get("security_opt", []),
        "MaskedPaths": (config.get("linux") or {}).get("maskedPaths", []),
        "ReadonlyPaths": (config.get("linux") or {}).get("readonlyPaths", []),
        "Tmpfs": {text.partition(":")[0]: text.partition(":")[2] for text in request.get("tmpfs", [])},
        "ShmSize": spec.size_in_bytes(shm, "--shm-size") if shm else spec.DEFAULT_SHM_SIZE,
        "Runtime": "rootless",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "Devices": [],
        "Init": request.get("init", False),
        "Ulimits": [
            {"Name": limit["type"], "Soft": limit["soft"], "Hard": limit["hard"]}
            for limit in (config.get("process") or {}).get("rlimits", [])
        ],
    }


def sizes(store: Store, container: Container) -> tuple[int, int]:
    """Bytes that the container has written, and those of its whole root file system."""
    from storage.drivers.sizes import written_bytes

    written = written_bytes(container.driver, store.layout.container(container.id), store.user_namespace)
    row = store.db.execute("SELECT size FROM images WHERE id = ?", (container.image_id,)).fetchone()
    return written, written + (row[0] if row else 0)
