"""The container's log, by default in the format of Podman's `k8s-file` driver (Kubernetes' CRI log format):

2024-01-02T03:04:05.123456789Z stdout F a whole line
2024-01-02T03:04:05.123456789Z stdout P a piece of a line that goes on in the next entry of the same stream
"""

from __future__ import annotations

import posix as os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # (stream, time, output) -> whole lines of a log
    Encode = Callable[[bytes, bytes, bytes], bytes]


def encode_cri(stream: bytes, time: bytes, data: bytes) -> bytes:
    """Output as lines of the CRI format."""
    head = b"%s %s " % (time, stream)
    lines, newline, rest = data.rpartition(b"\n")
    entry = b""
    if newline:
        whole = head + b"F "
        entry = whole + lines.replace(b"\n", b"\n" + whole) + b"\n"
    if rest:
        entry += head + b"P " + rest + b"\n"
    return entry


class LogFile:
    """Appends what comes to a log; `fd` is owned by the caller. A disk that is full costs log entries."""

    __slots__ = ("_encode", "_torn", "fd")

    def __init__(self, fd: int, encode: Encode = encode_cri) -> None:
        self.fd = fd
        self._encode = encode
        self._torn = False  # the last line is not whole

    def write(self, stream: bytes, data: bytes) -> None:
        """See sink.Log."""
        self.append(self._encode(stream, now(), data))

    def append(self, entry: bytes) -> bool:
        """Add whole lines; False where they could not all be written."""
        if self._torn:
            entry = b"\n" + entry
        view = memoryview(entry)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            self._torn = self._torn if len(view) == len(entry) else entry[len(entry) - len(view) - 1] != 10
            return False
        self._torn = False
        return True


def now() -> bytes:
    """This moment as logs write it."""
    return stamp(time.time_ns())


def stamp(nanoseconds: int) -> bytes:
    """A time since 1970 as logs write it: RFC 3339, UTC, with nanoseconds."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), fraction)
