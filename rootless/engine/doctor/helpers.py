"""Helper programs, devices and libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rootless.engine.doctor.finding import OK, PROBLEM, WARNING, Finding, as_root
from rootless.engine.hostfacts import outer_container, read
from rootless.engine.programs import install_command, version_number, version_text
from rootless.kernel.idmaps import find_program
from rootless.kernel.libc import Library

# slirp4netns: 0.4 brought the ready pipe and the API socket, 1.0 what the options that we use are called today;
# up to 1.1.4 it could be made to read beyond its buffers (CVE-2020-10756 and others of its libslirp).
_OLDEST_SLIRP = (1, 0)
_SOUND_SLIRP = (1, 1, 5)
# fuse-overlayfs: before 1.0 it lost whiteouts on a rename; 1.9 speaks the xattrs that the kernel's overlay reads.
_OLDEST_FUSE_OVERLAYFS = (1, 0)


def check_network_helpers() -> Iterator[Finding]:
    """slirp4netns, which containers use unless told otherwise, and pasta."""
    path = find_program("slirp4netns")
    version = version_number("slirp4netns", version_text("slirp4netns"))
    shown = ".".join(map(str, version))
    upgrade = (as_root(install_command("slirp4netns")),)
    if path is None:
        text = "not installed: containers have no network of their own (--network none and host work)"
        yield Finding("slirp4netns", PROBLEM, text, upgrade)
    elif not version:
        yield Finding("slirp4netns", PROBLEM, f"{path} does not tell its version: it does not run", upgrade)
    elif version < _OLDEST_SLIRP:
        yield Finding("slirp4netns", PROBLEM, f"{shown} is too old: 1.0 is needed", upgrade)
    elif version < _SOUND_SLIRP:
        yield Finding("slirp4netns", WARNING, f"{shown} has known security holes: 1.1.5 mended them", upgrade)
    else:
        yield Finding("slirp4netns", OK, f"{shown} ({path})")
    if find_program("pasta"):
        yield Finding("pasta", OK, version_text("pasta").partition("\n")[0] or "does not tell its version")
    else:
        yield Finding("pasta", OK, "not installed (only --network pasta would need it)")


def check_fuse_overlayfs(overlay_works: bool) -> Iterator[Finding]:
    """fuse-overlayfs and /dev/fuse: needed where the kernel's overlay is refused."""
    level = OK if overlay_works else WARNING
    version = version_number("fuse-overlayfs", version_text("fuse-overlayfs"))
    shown = ".".join(map(str, version))
    install = () if overlay_works else (as_root(install_command("fuse-overlayfs")),)
    spare = (
        " (not needed: the kernel's overlay works)" if overlay_works else ": each container gets a copy of its image"
    )
    if not find_program("fuse-overlayfs"):
        yield Finding("fuse-overlayfs", level, f"not installed{spare}", install)
    elif not version or version < _OLDEST_FUSE_OVERLAYFS:
        yield Finding("fuse-overlayfs", level, f"{shown or 'does not run'}: 1.0 or newer is needed{spare}", install)
    else:
        yield Finding("fuse-overlayfs", OK, shown)
    trouble = _device_trouble("/dev/fuse")
    if trouble is None:
        yield Finding("/dev/fuse", OK, "can be opened")
    else:
        yield Finding(
            "/dev/fuse", level, f"{trouble}{spare}", () if overlay_works else _device_mend("/dev/fuse", "fuse")
        )


def check_tun() -> Iterator[Finding]:
    """/dev/net/tun, through which slirp4netns and pasta give a container its network."""
    trouble = _device_trouble("/dev/net/tun")
    if trouble is None:
        yield Finding("/dev/net/tun", OK, "can be opened")
        return
    text = f"{trouble}: containers have no network of their own (--network none and host work)"
    yield Finding("/dev/net/tun", PROBLEM, text, _device_mend("/dev/net/tun", "tun"))


def check_seccomp() -> Iterator[Finding]:
    """The kernel's seccomp and the library that compiles the default filter."""
    if "errno" not in read("/proc/sys/kernel/seccomp/actions_avail"):
        text = "this kernel has no system-call filters (CONFIG_SECCOMP_FILTER): --security-opt seccomp=unconfined only"
        yield Finding("seccomp", PROBLEM, text, ("boot a kernel with CONFIG_SECCOMP_FILTER=y",))
        return
    try:
        Library("libseccomp.so.2")
    except OSError:
        text = "libseccomp.so.2 is not installed: only --security-opt seccomp=unconfined works"
        yield Finding("seccomp", PROBLEM, text, (as_root(install_command("libseccomp.so.2")),))
        return
    yield Finding("seccomp", OK, "the kernel filters, libseccomp compiles")


def _device_trouble(path: str) -> str | None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None


def _device_mend(path: str, module: str) -> tuple[str, ...]:
    if outer_container():
        return (f"give the outer container the option --device {path}",)
    if os.path.exists(path):
        return (as_root(f"chmod 0666 {path}"),)
    return (as_root(f"modprobe {module}"), f"echo {module} | {as_root(f'tee /etc/modules-load.d/{module}.conf')}")
