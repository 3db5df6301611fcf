"""The container's log, in the format of Podman's `k8s-file` driver (Kubernetes' CRI log format):

2024-01-02T03:04:05.123456789Z stdout F a whole line
2024-01-02T03:04:05.123456789Z stdout P a piece of a line that goes on in the next entry of the same stream
"""

from __future__ import annotations

import posix as os
import time


class LogFile:
    """Appends what comes to a log. Bytes pass unchanged; `fd` is owned by the caller."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def write(self, stream: bytes, data: bytes) -> None:
        """Add output of `stream` (b"stdout", b"stderr"). One time stamp serves all the lines that came at once.

        A disk that is full costs log entries, never the container.
        """
        nanoseconds = time.time_ns()
        seconds, fraction = divmod(nanoseconds, 1_000_000_000)
        head = b"%s.%09dZ %s " % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), fraction, stream)
        lines, newline, rest = data.rpartition(b"\n")
        entry = b""
        if newline:
            whole = head + b"F "
            entry = whole + lines.replace(b"\n", b"\n" + whole) + b"\n"
        if rest:
            entry += head + b"P " + rest + b"\n"
        try:
            view = memoryview(entry)
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            pass
