"""Capabilities: their names, and the five sets of this process (capabilities(7))."""

from __future__ import annotations

import struct

from rootless.errors import UsageError
from rootless.kernel.libc import check, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CAPS = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_LINUX_IMMUTABLE": 9,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_BROADCAST": 11,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_IPC_OWNER": 15,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_PACCT": 20,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYS_TIME": 25,
    "CAP_SYS_TTY_CONFIG": 26,
    "CAP_MKNOD": 27,
    "CAP_LEASE": 28,
    "CAP_AUDIT_WRITE": 29,
    "CAP_AUDIT_CONTROL": 30,
    "CAP_SETFCAP": 31,
    "CAP_MAC_OVERRIDE": 32,
    "CAP_MAC_ADMIN": 33,
    "CAP_SYSLOG": 34,
    "CAP_WAKE_ALARM": 35,
    "CAP_BLOCK_SUSPEND": 36,
    "CAP_AUDIT_READ": 37,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_CHECKPOINT_RESTORE": 40,
}

# What a container has unless told otherwise: Podman 5's list.
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_VERSION_3 = 0x20080522
_WORD = 0xFFFFFFFF


def last_capability() -> int:
    """The number of the last capability that this kernel knows; asked of the kernel, for /proc may be masked."""
    number = CAPS["CAP_CHECKPOINT_RESTORE"]
    while libc.call("prctl", _PR_CAPBSET_READ, number, 0, 0, 0) < 0:
        number -= 1
    while libc.call("prctl", _PR_CAPBSET_READ, number + 1, 0, 0, 0) >= 0:
        number += 1
    return number


def mask(names: Iterable[str]) -> int:
    """Names ("CAP_CHOWN", "chown", "ALL") as a bit mask. Raises UsageError for a name that does not exist."""
    bits = 0
    for name in names:
        upper = name.upper()
        if upper in ("ALL", "CAP_ALL"):
            bits |= (2 << last_capability()) - 1
            continue
        number = CAPS.get(upper if upper.startswith("CAP_") else "CAP_" + upper)
        if number is None:
            raise UsageError(f"capability {name}: there is none of that name", "capabilities(7) lists them")
        bits |= 1 << number
    return bits


def names(mask: int) -> list[str]:
    """A bit mask as names in the order of their numbers; bits that have no name here are left out."""
    return [name for name, number in CAPS.items() if mask >> number & 1]


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of this thread from bit masks (capset(2)). Raises SyscallError."""
    sets = (effective, permitted, inheritable)
    data = struct.pack("=6I", *[value & _WORD for value in sets], *[value >> 32 for value in sets])
    check(libc.call("capset", struct.pack("=Ii", _VERSION_3, 0), data), "capset")


def drop_bounding(keep_mask: int) -> None:
    """Drop from the bounding set, for good, all that `keep_mask` does not hold. Needs CAP_SETPCAP in this namespace."""
    number = 0
    # Beyond the last capability the kernel answers -1.
    while (held := libc.call("prctl", _PR_CAPBSET_READ, number, 0, 0, 0)) >= 0:
        if held and not keep_mask >> number & 1:
            check(libc.call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0), f"prctl(PR_CAPBSET_DROP, {number})")
        number += 1


def set_ambient(mask: int) -> None:
    """Make the ambient set exactly `mask`; each must be permitted and inheritable. Raises SyscallError."""
    _ambient(_PR_CAP_AMBIENT_CLEAR_ALL, 0)
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            _ambient(_PR_CAP_AMBIENT_RAISE, number)


def _ambient(operation: int, number: int) -> None:
    check(libc.call("prctl", _PR_CAP_AMBIENT, operation, number, 0, 0), f"prctl(PR_CAP_AMBIENT, {operation}, {number})")
