"""What the container's process may do: limits, user, capabilities, no_new_privs, the system-call filter.

The order is forced. Bounding capabilities go while we still may drop them; the user changes next; CAP_SYS_ADMIN stays
until the filter is loaded, which needs it unless no_new_privs is set, and the exec that follows gives the program
exactly what bounding, inheritable and ambient sets allow.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import KernelError, RootlessError, UsageError
from rootless.kernel.capabilities import CAPS, drop_bounding, mask, set_ambient, set_capabilities
from rootless.kernel.keyring import leave_session_keyring
from rootless.kernel.libc import SyscallError
from rootless.kernel.process import set_keep_caps, set_no_new_privs, set_rlimits
from rootless.kernel.seccomp import load_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless.runtime.users import User

RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_SYS_ADMIN = 1 << CAPS["CAP_SYS_ADMIN"]


def apply_limits(process: dict[str, Any]) -> None:
    """Resource limits, the OOM score and security labels of the OCI process object, while the host's /proc is there."""
    for limit in process.get("rlimits") or []:
        name, soft, hard = limit["type"], limit["soft"], limit["hard"]
        if name not in RLIMITS:
            raise UsageError(f"limit {name}: there is none of that name")
        try:
            set_rlimits([(RLIMITS[name], soft, hard)])
        except SyscallError as error:
            what = f"setting {name} to {soft}:{hard}: {os.strerror(error.errno or 0)}"
            if error.errno == errno.EPERM:
                raise UsageError(
                    what, "a limit can only be set up to the hard limit that you have (ulimit -H)"
                ) from None
            raise UsageError(what) from None
    if process.get("oomScoreAdj") is not None:
        _write_own("oom_score_adj", str(process["oomScoreAdj"]), "the OOM score adjustment")
    if process.get("apparmorProfile"):
        _write_own("attr/apparmor/exec", f"exec {process['apparmorProfile']}", "the AppArmor profile")
    if process.get("selinuxLabel"):
        _write_own("attr/exec", process["selinuxLabel"], "the SELinux label")


def _write_own(name: str, value: str, what: str) -> None:
    try:
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError(f"setting {what} {value}: {error.strerror}") from None


def become_user(
    process: dict[str, Any],
    user: User,
    single: bool,
    foreign: Sequence[int] = (),
    keys_refused: bool = False,
    keep_groups: bool = False,
) -> list[str]:
    """Leave the caller's keys behind, drop bounding capabilities and take on the user's ids; returns warnings. Raises
    UsageError for unmapped ids.

    `single` says that only one group exists here, so that supplementary ones cannot be had; `foreign` names those of
    the descriptors 0, 1, 2 that others use too, and whose pipes stay with their owner; `keys_refused` says that the
    filter refuses every call for keys: a keyring of its own would cost one of the user's 200 and hide nothing more;
    `keep_groups`: the caller's groups stay.
    """
    warnings = []
    if not keys_refused and not leave_session_keyring():
        warnings.append("your quota of keys is used up: the container can find the keys of your session keyring")
    capabilities = process.get("capabilities") or {}
    drop_bounding(mask(capabilities.get("bounding") or []))
    if user.gid:
        _change(f"gid {user.gid}", single, os.setresgid, user.gid, user.gid, user.gid)
    if keep_groups:
        pass  # those that are not mapped here cannot be named, and still give access to the host's files
    elif single:
        if len(user.groups) > 1:  # the first is the user's own
            warnings.append("supplementary groups are left out: only one id is mapped")
    else:
        _change(f"groups {' '.join(map(str, user.groups))}", single, os.setgroups, user.groups)
    if user.uid:
        set_keep_caps(True)
        own_pipes(user.uid, foreign)
    if user.uid:
        _change(f"uid {user.uid}", single, os.setresuid, user.uid, user.uid, user.uid)
    os.umask(int((process.get("user") or {}).get("umask", 0o022)))
    return warnings


def _change(what: str, single: bool, call: Any, *ids: Any) -> None:
    try:
        call(*ids)
    except OSError as error:
        if error.errno == errno.EINVAL:
            if single:
                raise UsageError(
                    f"running as {what}: containers have one user and one group here, those of root",
                    "leave --user out (or --user 0 where the image names one); `rootless doctor` tells how to get more",
                ) from None
            raise UsageError(
                f"running as {what}: that id is not mapped in the container's user namespace",
                "/etc/subuid and /etc/subgid say how many ids you have: `rootless doctor`",
            ) from None
        raise KernelError(f"running as {what}: {error.strerror}") from None


def own_pipes(uid: int, foreign: Sequence[int] = ()) -> None:
    """Give pipes on standard input, output and error to the user, who could not open /dev/stdout otherwise; but not
    the `foreign` ones: their owner could not open them any more."""
    for fd in range(3):
        if fd not in foreign and stat.S_ISFIFO(os.fstat(fd).st_mode):
            try:
                os.fchown(fd, uid, -1)
            except OSError:  # a pipe of somebody else's: it can be used, only not opened anew
                pass


def give_up_privileges(process: dict[str, Any], filtered: bool) -> None:
    """Set the capabilities that exec builds on, and no_new_privs; `filtered` says that `load_seccomp` comes yet."""
    capabilities = process.get("capabilities") or {}
    effective, permitted, inheritable, ambient = (
        mask(capabilities.get(kind) or []) for kind in ("effective", "permitted", "inheritable", "ambient")
    )
    no_new_privs = bool(process.get("noNewPrivileges"))
    kept = _SYS_ADMIN if filtered and not no_new_privs else 0
    if os.getuid():
        effective &= ambient  # exec leaves a user other than root these alone; until then no more may count either
    permitted |= ambient | effective
    try:
        set_capabilities(effective | kept, permitted | kept, inheritable)
        set_keep_caps(False)
        if ambient:
            set_ambient(ambient)
    except SyscallError as error:
        raise KernelError(f"setting the container's capabilities: {error.message}") from None
    if no_new_privs:
        set_no_new_privs()


def load_seccomp(program: bytes | None, flags: int = 0) -> None:
    """Put this process under a filter, if there is one; from here on it may do only what the filter allows."""
    if program is None:
        return
    try:
        load_filter(program, flags)
    except (SyscallError, ValueError) as error:
        raise RootlessError(
            f"loading the seccomp filter: {error}", "--security-opt seccomp=unconfined does without"
        ) from None
