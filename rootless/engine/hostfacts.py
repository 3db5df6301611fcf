"""Facts about this host that `info` and `doctor` both tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from rootless.kernel import cgroups as groups


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo."""

    place: str
    fstype: str
    source: str
    options: frozenset[str]


class Cgroups(NamedTuple):
    """`version` is "v2", "v1" (also the mixture with a unified hierarchy beside it) or "none". `ours` is the directory
    in which this process is (version 2), or None where it cannot be seen; `controllers` may be used below `delegated`,
    a directory that is ours or our systemd's."""

    version: str
    ours: Path | None
    delegated: Path | None
    controllers: tuple[str, ...]


def read(path: str | Path) -> str:
    """A small file's text without blanks around it; "" where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def key_values(path: str | Path) -> dict[str, str]:
    """A file of lines `key: value` or `KEY=value`; the first of equal keys counts, quotes are taken off."""
    found: dict[str, str] = {}
    for line in read(path).splitlines():
        for separator in ("=", ":"):
            key, parted, value = line.partition(separator)
            if parted and key.strip().replace("_", "").isalnum():
                found.setdefault(key.strip(), value.strip().strip("\"'"))
                break
    return found


def mounts() -> list[Mount]:
    """The mounts that this process sees, in the order in which they were made."""
    found = []
    for line in read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (fstype, source, *_) = before.split(), after.split()
        place = fields[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        found.append(Mount(place, fstype, source, frozenset(fields[5].split(","))))
    return found


def mount_of(path: str) -> Mount:
    """The mount on which `path`, or its nearest ancestor that exists, lies."""
    real = os.path.realpath(path)
    best = Mount("/", "unknown", "none", frozenset())
    for mount in mounts():
        below = real == mount.place or real.startswith(mount.place.rstrip("/") + "/")
        if below and len(mount.place) >= len(best.place):
            best = mount
    return best


def existing_ancestor(path: str) -> str:
    """`path`, or the nearest directory above it that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def cgroups() -> Cgroups:
    """The version of control groups here, our own one, and what may be limited: below it, or by the user's systemd."""
    place, ours = groups.mounted(), groups.directory_of()
    is_v1 = any(mount.fstype == "cgroup" for mount in mounts())
    version = "v2" if place is not None else "none"
    if is_v1 and (place is None or not os.path.exists("/sys/fs/cgroup/cgroup.controllers")):
        version = "v1"
    delegated = groups.delegated(ours)
    if not delegated and place is not None:
        of_systemd = f"{place[0]}/user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service"
        if all(os.access(f"{of_systemd}/{name}", os.W_OK) for name in ("cgroup.procs", "cgroup.subtree_control")):
            delegated = of_systemd
    controllers = sorted(read(f"{delegated}/cgroup.controllers").split()) if delegated else []
    return Cgroups(version, Path(ours) if ours else None, Path(delegated) if delegated else None, tuple(controllers))


def outer_container() -> str | None:
    """What kind of container this process runs in ("docker", "podman", "lxc", ...); None on a host."""
    if os.path.exists("/run/.containerenv"):
        return "podman"
    if os.path.exists("/.dockerenv"):
        return "docker"
    named = read("/run/systemd/container") or os.environ.get("container", "")  # noqa: SIM112  systemd and podman spell it so
    if named:
        return named
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    rows = [line.split() for line in read("/proc/self/uid_map").splitlines()]
    return "user namespace" if rows and rows != [["0", "0", "4294967295"]] else None
