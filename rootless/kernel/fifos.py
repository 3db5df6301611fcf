"""Opening files that users name. One may be a fifo, on purpose or not: who waits for its other end says so."""

from __future__ import annotations

import errno
import os
import select
import stat
import time

_SILENCE_MS = 1000
_STEP_SECONDS = 0.05


def open_to_read(path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor, as `opener` of `open`. Where the file is a fifo to which nobody writes, this waits for somebody who
    does, and says so after a second. Raises OSError."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(_SILENCE_MS):
                _say(f"waiting for somebody to write to {path}, which is a fifo")
                while not poll.poll(_SILENCE_MS):
                    pass  # an endless wait would not notice a signal that came right before it
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_to_write(path: str, flags: int = os.O_WRONLY) -> int:
    """The same for a file that is not made here: waits for somebody who reads the fifo. Raises OSError."""
    told_at = time.monotonic() + _SILENCE_MS / 1000
    told = False
    while True:
        try:
            fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            os.set_blocking(fd, True)
            return fd
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
        if not told and time.monotonic() > told_at:
            _say(f"waiting for somebody to read {path}, which is a fifo")
            told = True
        time.sleep(_STEP_SECONDS)


def _say(what: str) -> None:
    try:
        os.write(2, f"rootless: {what} (Ctrl-C ends this)\n".encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # nobody listens
