"""What `inspect` shows of how a container was made: `Config` (its process) and `HostConfig` (what the host gives)."""

from __future__ import annotations

from rootless.engine.bundle import DEFAULT_SHM_SIZE
from rootless.engine.inspect.network import exposed, port_map
from rootless.engine.logplace import NO_FILE, log_path, option
from rootless.engine.restart import shown_policy
from rootless.engine.signals import DEFAULT_TIMEOUT, parse_signal, signal_name
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store


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


def process_settings(
    container: Container, request: dict[str, Any], config: dict[str, Any], ports: list[list[Any]]
) -> dict[str, Any]:
    """The object `Config`. `request` is what the container was made with, `config` its config.json."""
    process = config.get("process") or {}
    image = request.get("image_config", {})
    entrypoint = image.get("Entrypoint")
    if "entrypoint" in request:
        from rootless.engine.spec.config import parse_entrypoint

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
        "ExposedPorts": {port: {} for port in sorted({*exposed(request), *port_map(ports)})} or None,
        "OnBuild": None,
        "Labels": loads(container.labels),
        "Annotations": config.get("annotations", {}),
        "StopSignal": signal_name(parse_signal(request.get("stop_signal") or "SIGTERM")),
        "CreateCommand": request.get("create_command"),
        "Timeout": request.get("timeout", 0),
        "StopTimeout": request.get("stop_timeout", DEFAULT_TIMEOUT),
        "Passwd": True,
        "Umask": "0022",
        **_health_config(request.get("health")),
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


def host_settings(
    store: Store, container: Container, request: dict[str, Any], config: dict[str, Any], ports: list[list[Any]]
) -> dict[str, Any]:
    """The object `HostConfig`; the arguments as in `process_settings`."""
    network = loads(container.network)
    mode = network.get("mode", "")
    options = network.get("options", "")
    binds = [_bind(mount) for mount in request.get("inspected_mounts", []) if mount["Type"] != "image"]
    return {
        **_NO_LIMITS,
        "Binds": binds,
        "CgroupManager": "none",
        "ContainerIDFile": request.get("cidfile", ""),
        "LogConfig": _log_config(store, container.id, request),
        "NetworkMode": f"{mode}:{options}" if options else mode,
        "PortBindings": port_map(ports),
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
        "ShmSize": _shm_size(request.get("shm_size")),
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


def _shm_size(asked: str | None) -> int:
    if not asked:
        return DEFAULT_SHM_SIZE
    from rootless.engine.spec.config import size_in_bytes

    return size_in_bytes(asked, "--shm-size")


def _bind(mount: dict[str, Any]) -> str:
    """A mount as `--volume` would write it out."""
    words = ["rw" if mount["RW"] else "ro", mount["Mode"], mount["Propagation"], *mount["Options"]]
    return f"{mount.get('Name') or mount['Source']}:{mount['Destination']}:{','.join(filter(None, words))}"


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
