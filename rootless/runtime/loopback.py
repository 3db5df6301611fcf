"""The loopback interface of the network namespace that this process is in."""

from __future__ import annotations

import _socket
import fcntl
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
