"""The buffered end of a tar stream that is being written: headers gather, payloads go by sendfile."""

from __future__ import annotations

import errno
import os

from rootless.kernel.files import write_all

_FLUSH = 256 << 10
_SMALL = 64 << 10
_CHUNK = 1 << 20
_SEND = 1 << 30


class Output:
    """Writes to the descriptor `fd`, which stays its owner's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer: list[bytes] = []
        self._buffered = 0

    def write(self, data: bytes) -> None:
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        if self._buffer:
            write_all(self._fd, b"".join(self._buffer))
            self._buffer.clear()
            self._buffered = 0

    def payload(self, fd: int, offset: int, size: int) -> None:
        """Exactly `size` bytes of the file `fd`; one that has shrunk is filled up with zeros."""
        if size <= _SMALL:
            data = os.pread(fd, size, offset)
            self.write(data + bytes(size - len(data)))
            return
        self.flush()
        end = offset + size
        while offset < end:
            sent = self._send(fd, offset, min(_SEND, end - offset))
            if not sent:
                break
            offset += sent
        while offset < end:
            step = min(_CHUNK, end - offset)
            write_all(self._fd, bytes(step))
            offset += step

    def _send(self, fd: int, offset: int, count: int) -> int:
        try:
            return os.sendfile(self._fd, fd, offset, count)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):  # a file that is open for appending takes none
                raise
        data = os.pread(fd, min(count, _CHUNK), offset)
        write_all(self._fd, data)
        return len(data)
