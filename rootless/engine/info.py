"""`info`: this host, this store and this program, under Podman's keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rootless.engine.hostfacts import cgroups, key_values, mount_of, read
from rootless.engine.programs import packages_of, version_text
from rootless.engine.version import describe
from rootless.kernel.capabilities import DEFAULT
from rootless.kernel.idmaps import find_program
from storage.platforms import host_platform
from storage.settings.files import user_directory

if TYPE_CHECKING:
    from rootless.kernel.idmaps import Range
    from storage.store import Store

_FILE_SYSTEM_NAMES = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs"}  # as Podman calls them


def gather(store: Store) -> dict[str, Any]:
    """Everything, as plain values. Makes the store where there is none yet. Raises StorageError."""
    return {
        "host": _host(store),
        "plugins": {
            "authorization": None,
            "log": ["k8s-file", "none", "passthrough"],
            "network": ["none", "host", "slirp4netns"],
            "volume": ["local"],
        },
        "registries": _registries(),
        "store": _store(store),
        "version": {key: value for key, value in describe().items() if key not in ("Arch", "KernelVersion")},
    }


def _host(store: Store) -> dict[str, Any]:
    platform = host_platform()
    memory = key_values("/proc/meminfo")
    release = key_values("/etc/os-release")
    groups = cgroups()
    programs = _programs("pasta", "slirp4netns", *(["fuse-overlayfs"] if store.driver == "fuse-overlayfs" else []))
    up = float(read("/proc/uptime").partition(" ")[0] or 0)
    facts: dict[str, Any] = {
        "arch": platform.architecture,
        "cgroupControllers": list(groups.controllers),
        "cgroupManager": _cgroup_manager(groups.delegated is not None),
        "cgroupVersion": groups.version,
        "cpuUtilization": _processor_use(),
        "cpus": len(os.sched_getaffinity(0)),
        "databaseBackend": "sqlite",
        "distribution": {
            "codename": release.get("VERSION_CODENAME", ""),
            "distribution": release.get("ID", "unknown"),
            "version": release.get("VERSION_ID", "unknown"),
        },
        "eventLogger": "file",
        "hostname": os.uname().nodename,
        "idMappings": {"gidmap": _rows(store.user_map.gids), "uidmap": _rows(store.user_map.uids)},
        "kernel": os.uname().release,
        "logDriver": "k8s-file",
        "memFree": _kibibytes(memory, "MemFree"),
        "memTotal": _kibibytes(memory, "MemTotal"),
        "networkBackend": "slirp4netns",
        "ociRuntime": {
            "name": "rootless",
            "package": "built in",
            "path": "",
            "version": f"rootless version {describe()['Version']}\nspec: 1.2.0",
        },
        "os": platform.os,
        "pasta": programs["pasta"],
        "rootlessNetworkCmd": "slirp4netns",
        "security": {
            "apparmorEnabled": False,  # a user cannot load profiles for containers
            "capabilities": ",".join(DEFAULT),
            "rootless": True,
            "seccompEnabled": "errno" in read("/proc/sys/kernel/seccomp/actions_avail"),
            "seccompProfilePath": "default",
            "selinuxEnabled": False,
        },
        "serviceIsRemote": False,
        "slirp4netns": programs["slirp4netns"],
        "swapFree": _kibibytes(memory, "SwapFree"),
        "swapTotal": _kibibytes(memory, "SwapTotal"),
        "uptime": _span(up),
        "variant": platform.variant,
    }
    if "fuse-overlayfs" in programs:
        facts["fuseOverlayfs"] = programs["fuse-overlayfs"]
    return facts


def _store(store: Store) -> dict[str, Any]:
    room = os.statvfs(store.layout.root)
    states = dict(store.db.execute("SELECT state, count(*) FROM containers GROUP BY state").fetchall())
    images = store.db.execute("SELECT count(*) FROM images").fetchone()
    total = sum(states.values())
    running, paused = states.get("running", 0), states.get("paused", 0)
    kind = mount_of(store.layout.root).fstype
    overlay = "overlay" in store.driver
    return {
        "configFile": f"{user_directory()}/storage.conf",
        "containerStore": {"number": total, "paused": paused, "running": running, "stopped": total - running - paused},
        "graphDriverName": store.driver,
        "graphOptions": {},
        "graphRoot": store.root,
        "graphRootAllocated": room.f_blocks * room.f_frsize,
        "graphRootUsed": (room.f_blocks - room.f_bfree) * room.f_frsize,
        "graphStatus": {
            "Backing Filesystem": _FILE_SYSTEM_NAMES.get(kind, kind),
            "Native Overlay Diff": "true" if store.driver == "overlay" else "false",
            "Supports d_type": "true" if overlay else "unknown",
            "Using metacopy": "false",
        },
        "imageCopyTmpDir": store.layout.tmp,
        "imageStore": {"number": images[0]},
        "runRoot": store.runroot,
        "transientStore": False,
        "volumePath": store.layout.volumes,
    }


def _registries() -> dict[str, Any]:
    """What registries.conf says, as Podman lists it: the search order, and each configured registry by its prefix."""
    from storage.settings.registries_conf import load

    conf = load()
    found: dict[str, Any] = {}
    if conf.search:
        found["search"] = list(conf.search)
    for registry in conf.registries.values():
        found[registry.prefix] = {
            "Blocked": registry.blocked,
            "Insecure": registry.insecure,
            "Location": registry.location,
            "Mirrors": [{"Location": mirror.location, "Insecure": mirror.insecure} for mirror in registry.mirrors]
            or None,
            "Prefix": registry.prefix,
        }
    return found


def _cgroup_manager(delegated: bool) -> str:
    if not delegated:
        return "none"
    return "systemd" if os.path.isdir("/run/systemd/system") else "cgroupfs"


def _processor_use() -> dict[str, float]:
    """Shares of processor time since boot, in percent (/proc/stat)."""
    ticks = [int(number) for number in read("/proc/stat").partition("\n")[0].split()[1:9]]
    user, nice, system, idle, waiting, *_ = ticks or [0, 0, 0, 1, 0]
    total = sum(ticks) or 1
    parts = {"idlePercent": idle + waiting, "systemPercent": system, "userPercent": user + nice}
    return {name: round(part * 100 / total, 2) for name, part in parts.items()}


def _programs(*names: str) -> dict[str, dict[str, str]]:
    """Where each program is, what it came with, what it says of itself; all empty where it is missing."""
    paths = {name: find_program(name) or "" for name in names}
    packages = packages_of([path for path in paths.values() if path])
    return {
        name: {"executable": path, "package": packages.get(path, ""), "version": version_text(name)}
        for name, path in paths.items()
    }


def _rows(ranges: list[Range]) -> list[dict[str, int]]:
    return [{"container_id": inside, "host_id": outside, "size": count} for inside, outside, count in ranges]


def _kibibytes(memory: dict[str, str], key: str) -> int:
    """A line of /proc/meminfo in bytes."""
    return int(memory.get(key, "0").partition(" ")[0]) * 1024


def _span(seconds: float) -> str:
    """As Podman says it: "1h 1m 2.00s (Approximately 0.04 days)"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h {minutes}m {rest:.2f}s" if hours else f"{minutes}m {rest:.2f}s"
    return f"{text} (Approximately {seconds / 86400:.2f} days)" if hours else text
