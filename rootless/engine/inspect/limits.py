"""What `inspect` shows of a container's control group and its limits, in Podman's words. Loaded where it has one."""

from __future__ import annotations

from rootless.engine.spec.config import size_in_bytes
from rootless.kernel.cgroups import path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container

_SIZES = {"memory": "Memory", "memory_reservation": "MemoryReservation", "memory_swap": "MemorySwap"}
_AS_TYPED = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_shares": "CpuShares",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "oom_kill_disable": "OomKillDisable",
    "pids_limit": "PidsLimit",
}
_RATES = {
    "blkio_weight_device": ("BlkioWeightDevice", "Weight"),
    "device_read_bps": ("BlkioDeviceReadBps", "Rate"),
    "device_read_iops": ("BlkioDeviceReadIOps", "Rate"),
    "device_write_bps": ("BlkioDeviceWriteBps", "Rate"),
    "device_write_iops": ("BlkioDeviceWriteIOps", "Rate"),
}


def add(found: dict[str, Any], container: Container, request: dict[str, Any]) -> None:
    """Complete what `inspect_container` has found."""
    host = found["HostConfig"]
    host["CgroupParent"] = request.get("cgroup_parent", "")
    if container.cgroup:
        host["Cgroups"] = "default"
        host["CgroupManager"] = "systemd" if container.cgroup.endswith(".scope/container") else "cgroupfs"
        found["State"]["CgroupPath"] = path_of(container.pid)
    for option, key in _AS_TYPED.items():
        if option in request:
            host[key] = request[option]
    for option, key in _SIZES.items():
        if option in request:
            text = request[option]
            host[key] = -1 if text == "-1" else size_in_bytes(text, option)
    if host["Memory"] and "memory_swap" not in request:
        host["MemorySwap"] = 2 * host["Memory"]
    if "cpus" in request:
        host["NanoCpus"] = round(float(request["cpus"]) * 1e9)
        host["CpuPeriod"], host["CpuQuota"] = 100_000, round(float(request["cpus"]) * 100_000)
    for option, (key, name) in _RATES.items():
        if option in request:
            host[key] = [_rate(text, name, option) for text in request[option]]
    if "cgroup_conf" in request:
        host["CgroupConf"] = dict(text.split("=", 1) for text in request["cgroup_conf"])


def _rate(text: str, name: str, option: str) -> dict[str, Any]:
    path, _, value = text.rpartition(":")
    return {"Path": path, name: size_in_bytes(value, option)}
