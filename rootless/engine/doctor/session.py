"""The login session: control groups, lingering, the runtime directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from rootless.engine.doctor.finding import OK, PROBLEM, WARNING, Finding, as_root
from rootless.engine.hostfacts import cgroups, mount_of, outer_container
from rootless.kernel.subids import user_name_of

_WANTED = ("cpu", "cpuset", "io", "memory", "pids")


def check_cgroups() -> Iterator[Finding]:
    """What may be limited. Containers without limits need none of it."""
    found = cgroups()
    only_limits = "containers run, but without limits of memory, processor and processes"
    if found.version == "v2" and found.delegated is not None:
        missing = [name for name in _WANTED if name not in found.controllers]
        if not missing:
            yield Finding("control groups", OK, f"v2, delegated: {', '.join(found.controllers)}")
            return
        text = f"v2, but {', '.join(missing)} not delegated to us: limits that need them are refused"
        yield Finding("control groups", WARNING, text, _delegate())
    elif found.version == "v2":
        yield Finding("control groups", WARNING, f"v2, nothing delegated to us: {only_limits}", _delegate())
    elif found.version == "v1":
        mend = ("boot the host around this container with control groups v2",) if outer_container() else _unified()
        yield Finding("control groups", WARNING, f"v1, which users cannot have delegated: {only_limits}", mend)
    else:
        mend = (as_root("mount -t cgroup2 none /sys/fs/cgroup"),)
        yield Finding("control groups", WARNING, f"not mounted: {only_limits}", mend)


def check_lingering() -> Iterator[Finding]:
    """Whether containers outlive the last session of their user."""
    if not os.path.isdir("/run/systemd/system"):
        yield Finding("lingering", OK, "not needed: systemd does not run here, nothing ends with a session")
        return
    name = user_name_of(os.getuid()) or str(os.getuid())
    if os.getuid() == 0 or os.path.exists(f"/var/lib/systemd/linger/{name}"):
        yield Finding("lingering", OK, "on: containers outlive your sessions")
        return
    yield Finding(
        "lingering",
        WARNING,
        "off: containers end, and /run/user goes away, with your last session",
        (as_root(f"loginctl enable-linger {name}"),),
    )


def check_runtime_directory() -> Iterator[Finding]:
    """$XDG_RUNTIME_DIR: set, ours, private, in memory."""
    check = "XDG_RUNTIME_DIR"
    path = os.environ.get("XDG_RUNTIME_DIR", "")
    usual = f"/run/user/{os.getuid()}"
    instead = f"/tmp/rootless-run-{os.getuid()} serves instead"
    log_in: tuple[str, ...]
    if os.path.isdir("/run/systemd/system"):
        log_in = ("log in through ssh, a console, or `machinectl shell`, not through su or sudo",)
    else:
        log_in = (as_root(f"install -d -m 0700 -o {os.getuid()} {usual}"), f"export XDG_RUNTIME_DIR={usual}")
    if _is_ours(usual) and path != usual and not _is_ours(path):
        log_in = (f"export XDG_RUNTIME_DIR={usual}",)
    if not path:
        yield Finding(check, WARNING, f"not set: {instead}", log_in)
    elif not os.path.isdir(path):
        yield Finding(check, WARNING, f"{path} does not exist: {instead}", log_in)
    elif not _is_ours(path):
        yield Finding(check, WARNING, f"{path} belongs to somebody else: {instead}", log_in)
    elif stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        yield Finding(check, WARNING, f"{path} is open to others", (f"chmod 0700 {path}",))
    elif mount_of(path).fstype not in ("tmpfs", "ramfs"):
        text = f"{path} lies on a disk ({mount_of(path).fstype}): live state is slower, and stays after a reboot"
        in_memory = as_root(f"mount -t tmpfs -o mode=0700,uid={os.getuid()},gid={os.getgid()} tmpfs {path}")
        yield Finding(check, WARNING, text, (in_memory,))
    else:
        yield Finding(check, OK, path)


def check_run_root(runroot: str) -> Iterator[Finding]:
    """Where live state goes must be writable."""
    place = runroot
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.access(place, os.W_OK):
        mend = ("name another directory with --runroot or ROOTLESS_RUNROOT",)
        yield Finding("live state", PROBLEM, f"{place} cannot be written by us", mend)


def _is_ours(path: str) -> bool:
    try:
        return bool(path) and os.stat(path).st_uid == os.getuid()
    except OSError:
        return False


def _delegate() -> tuple[str, ...]:
    if not os.path.isdir("/run/systemd/system"):
        if outer_container():
            return ("give the outer container a writable control group (podman: --cgroupns=private, systemd inside)",)
        own = f"/sys/fs/cgroup/user-{os.getuid()}"
        return (
            as_root(f"mkdir -p {own}/shell"),
            as_root(f"chown -R {os.getuid()} {own}"),
            f"echo $$ | {as_root(f'tee {own}/shell/cgroup.procs')}",
        )
    directory = "/etc/systemd/system/user@.service.d"
    return (
        as_root(f"mkdir -p {directory}"),
        f"printf '[Service]\\nDelegate={' '.join(_WANTED)}\\n' | {as_root(f'tee {directory}/delegate.conf')}",
        as_root("systemctl daemon-reload"),
        as_root(f"systemctl restart user@{os.getuid()}.service") + "   # ends your sessions; or reboot",
    )


def _unified() -> tuple[str, ...]:
    """Boot with the unified hierarchy."""
    option = "systemd.unified_cgroup_hierarchy=1"
    if os.path.exists("/usr/sbin/grubby") or os.path.exists("/sbin/grubby"):
        return (as_root(f"grubby --update-kernel=ALL --args={option}"), as_root("reboot"))
    if os.path.exists("/etc/default/grub"):
        change = f"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{option} /' /etc/default/grub"
        return (as_root(change), as_root("update-grub"), as_root("reboot"))
    return (f"boot the kernel with {option}",)
