"""What a network namespace of our own needs before a program runs in it."""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

from rootless.errors import KernelError

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


def bring_up_loopback() -> None:
    """Set `lo` up (netdevice(7)). Raises KernelError."""
    request = struct.pack("16sH14x", b"lo", _IFF_UP)
    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        fcntl.ioctl(control.fileno(), _SIOCSIFFLAGS, request)
    except OSError as error:
        raise KernelError(f"setting the loopback interface up: {error.strerror}") from None
    finally:
        control.close()


def let_root_ping() -> None:
    """Allow group 0 the sockets that `ping` opens (icmp(7), ping_group_range), which a new namespace allows nobody.

    To be called once the group ids are mapped. A host that does not let us write this (/proc/sys is read-only in most
    containers) costs the ping, never the container.
    """
    try:
        fd = os.open("/proc/sys/net/ipv4/ping_group_range", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0 0")
        finally:
            os.close(fd)
    except OSError:
        pass
