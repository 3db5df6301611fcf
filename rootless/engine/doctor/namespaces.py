"""May we have namespaces, and if not, what forbids them: found out by making some."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator

from rootless.engine.doctor.finding import OK, PROBLEM, WARNING, Finding, as_root, set_kernel_switch
from rootless.engine.hostfacts import key_values, outer_container, read
from rootless.engine.hostfacts import mounts as all_mounts
from rootless.kernel import mounts, namespaces
from rootless.kernel.idmaps import UserMap, start_mapping

_SWITCHES = "/proc/sys/kernel"
_PROFILE = """abi <abi/4.0>,
include <tunables/global>

profile rootless {path} flags=(unconfined) {{
  userns,
  include if exists <local/rootless>
}}
"""
_NEWER = ("install and boot a newer kernel",)
_OUTER_OPTIONS = {
    "docker": "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined --device /dev/fuse --device /dev/net/tun ...",
    "podman": "podman run --security-opt seccomp=unconfined --security-opt unmask=ALL --device /dev/fuse "
    "--device /dev/net/tun ...",
    "kubernetes": "in the pod: securityContext: {seccompProfile: {type: Unconfined}, procMount: Unmasked}",
    "lxc": "lxc config set NAME security.nesting true",
}


def check_kernel() -> Iterator[Finding]:
    """The kernel's version against what overlays of users need."""
    release = os.uname().release
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if numbers < (4, 18):
        yield Finding("kernel", PROBLEM, f"{release} is too old: 4.18 is needed, 5.11 for overlays", _NEWER)
    elif numbers < (5, 11):
        yield Finding(
            "kernel", WARNING, f"{release}: overlays of users need 5.11; fuse-overlayfs or vfs serves", _NEWER
        )
    else:
        yield Finding("kernel", OK, release)


def check_surroundings() -> Iterator[Finding]:
    """Whether we are in a container already, and whether privilege was renounced."""
    outer = outer_container()
    if outer is not None:
        yield Finding("nesting", OK, f"we run inside another container ({outer})")
    if key_values("/proc/self/status").get("NoNewPrivs") == "1":
        yield Finding(
            "no_new_privs",
            WARNING,
            "set on this process: newuidmap has no effect, containers have one user id only",
            ("start a shell without it (a unit: NoNewPrivileges=no; docker: no --security-opt no-new-privileges)",),
        )
    else:
        yield Finding("no_new_privs", OK, "not set")


def check_user_namespaces() -> Iterator[Finding]:
    """Make a user namespace with one id and use its rights."""
    failure = _attempt(_make_user_namespace)
    if failure is None:
        yield Finding("user namespaces", OK, "can be made, and give the rights that containers need")
        yield from _check_others()
        return
    step, number = failure
    text = f"{step}: {os.strerror(number)}"
    yield _culprit(text, number)


def _check_others() -> Iterator[Finding]:
    failure = _attempt(_make_others)
    if failure is not None:
        step, number = failure
        limits = [
            name
            for name in os.listdir("/proc/sys/user")
            if re.fullmatch(r"max_\w+_namespaces", name) and read(f"/proc/sys/user/{name}") == "0"
        ]
        mend = [command for name in limits for command in set_kernel_switch(f"user.{name}", 28000)]
        yield Finding("other namespaces", PROBLEM, f"{step}: {os.strerror(number)}", tuple(mend))
        return
    failure = _attempt(_mount_proc)
    if failure is not None:
        outer = outer_container() or "podman"
        yield Finding(
            "other namespaces",
            WARNING,
            "a new /proc cannot be mounted, for parts of ours are covered (as in a container): the outer one is shared",
            (_OUTER_OPTIONS.get(outer, _OUTER_OPTIONS["podman"]),),
        )
        return
    yield Finding("other namespaces", OK, "mount, pid, network, uts, ipc and cgroup namespaces can be made")


def _culprit(text: str, number: int) -> Finding:
    """Who forbids user namespaces."""
    check = "user namespaces"
    if not os.path.exists("/proc/self/ns/user"):
        return Finding(
            check, PROBLEM, "this kernel has none (CONFIG_USER_NS)", ("boot a kernel with CONFIG_USER_NS=y",)
        )
    if read("/proc/sys/user/max_user_namespaces") == "0":
        mend = set_kernel_switch("user.max_user_namespaces", 28000)
        return Finding(check, PROBLEM, f"{text}: user.max_user_namespaces is 0", mend)
    if read(f"{_SWITCHES}/unprivileged_userns_clone") == "0":
        mend = set_kernel_switch("kernel.unprivileged_userns_clone", 1)
        return Finding(check, PROBLEM, f"{text}: kernel.unprivileged_userns_clone is 0", mend)
    if read(f"{_SWITCHES}/apparmor_restrict_unprivileged_userns") == "1":
        return _apparmor(check, text)
    outer = outer_container()
    if outer is not None:
        hint = _OUTER_OPTIONS.get(outer, "allow unshare, mount and setns in the container around this one")
        return Finding(check, PROBLEM, f"{text}: forbidden by the container around us ({outer})", (hint,))
    if number == errno.ENOSPC:
        mend = set_kernel_switch("user.max_user_namespaces", 28000)
        return Finding(check, PROBLEM, f"{text}: there are as many as may be, or 32 within one another", mend)
    if key_values("/proc/self/status").get("Seccomp") == "2":
        hint = "leave the sandbox, or have it allow unshare, clone, mount and setns (a unit: RestrictNamespaces=no)"
        return Finding(check, PROBLEM, f"{text}: forbidden by a seccomp filter on this process", (hint,))
    if not any(mount.place == "/" for mount in all_mounts()):
        return Finding(check, PROBLEM, f"{text}: the root directory was changed (chroot)", ("leave the chroot",))
    return Finding(check, PROBLEM, text, ("look into `journalctl -k` for what a security module says",))


def _apparmor(check: str, text: str) -> Finding:
    """The profile names one path: the launcher, under which all of ours is started and stays."""
    program = shutil.which("rootless") or sys.argv[0]
    profile = _PROFILE.format(path=os.path.realpath(program))
    return Finding(
        check,
        PROBLEM,
        f"{text}: AppArmor denies them to programs without a profile (kernel.apparmor_restrict_unprivileged_userns)",
        (
            f"{as_root('tee /etc/apparmor.d/rootless')} <<'END'\n{profile}END",
            as_root("apparmor_parser -r /etc/apparmor.d/rootless"),
        ),
    )


Ids = tuple[int, int]


def _make_user_namespace(ids: Ids) -> Iterator[str]:
    yield "unshare(user)"
    namespaces.unshare(namespaces.CLONE_NEWUSER)
    yield "mapping our own id"
    start_mapping(os.getpid(), UserMap([(0, ids[0], 1)], [(0, ids[1], 1)], True)).finish()
    yield "unshare(mnt)"
    namespaces.unshare(namespaces.CLONE_NEWNS)
    yield "mounting inside it"
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.mount("tmpfs", "/tmp", "tmpfs")


def _make_others(ids: Ids) -> Iterator[str]:
    yield from _make_user_namespace(ids)
    for kind in ("pid", "net", "uts", "ipc", "cgroup"):
        yield f"unshare({kind})"
        namespaces.unshare(namespaces.KINDS[kind])


def _mount_proc(ids: Ids) -> Iterator[str]:
    yield from _make_others(ids)
    pid = os.fork()
    if pid == 0:
        try:
            mounts.mount("proc", "/proc", "proc")
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    yield "mounting /proc"
    if number:
        raise OSError(number, os.strerror(number))


def _attempt(steps: Callable[[Ids], Iterator[str]]) -> tuple[str, int] | None:
    """Go through `steps` in a child; the step that failed and its errno, or None where all went well."""
    reader, writer = os.pipe()
    ids = (os.geteuid(), os.getegid())
    pid = os.fork()
    if pid == 0:
        step = "starting"
        try:
            for name in steps(ids):
                step = name
        except Exception as error:
            cause = error if isinstance(error, OSError) else error.__context__
            number = getattr(cause, "errno", None) or errno.EPERM
            os.write(writer, f"{number} {step}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    if not said:
        return None
    number, _, step = said.partition(" ")
    return step, int(number)
