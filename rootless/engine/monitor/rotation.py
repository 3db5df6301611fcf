"""A log that is begun anew at a size: LOG is renamed to LOG.1, that to LOG.2, and so on. Loaded where a size is set.

Every line is whole and in one file; what a reader has open stays as it is. The new file is in place at once: at no
moment is there none of the name, and nothing is written to the old one once the new one is there.
"""

from __future__ import annotations

import posix as os

from rootless.engine.monitor.logfile import LogFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.monitor.logfile import Encode

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_REGULAR, _FORMAT = 0o100000, 0o170000


class RotatingLog(LogFile):
    """A log file of `size` bytes at most, unless one line is longer, and `files` files at most, this one included."""

    __slots__ = ("_files", "_path", "_room", "_size")

    def __init__(self, fd: int, encode: Encode, path: str, size: int, files: int) -> None:
        super().__init__(fd, encode)
        self._path = path
        self._size = size
        self._files = files
        self._room = 0
        self._measure()

    def append(self, entry: bytes) -> bool:
        while entry and len(entry) > self._room:
            cut = entry.rfind(b"\n", 0, max(self._room, 0)) + 1
            if not cut and self._room == self._size:  # one line that is longer than a whole file may be
                cut = entry.index(b"\n") + 1
            if cut:
                self._add(entry[:cut])
                entry = entry[cut:]
            if entry and not self._rotate():
                self._room = self._size  # the next attempt comes as much later
        return not entry or self._add(entry)

    def _add(self, entry: bytes) -> bool:
        self._room -= len(entry)
        return super().append(entry)

    def _measure(self) -> None:
        status = os.fstat(self.fd)
        # What is no file (a fifo, a terminal) cannot be full.
        self._room = self._size - status.st_size if status.st_mode & _FORMAT == _REGULAR else 1 << 62

    def _rotate(self) -> bool:
        """Go on in a new file; False where none can be made: the old one grows then."""
        path = self._path
        fresh = f"{path}.rotating"
        try:
            if self._is_ours():
                _forget(fresh)
                fd = os.open(fresh, _FLAGS | os.O_EXCL, 0o600)
                for number in range(self._files - 1, 0, -1):
                    older = path if number == 1 else f"{path}.{number - 1}"
                    try:
                        _place(older, f"{path}.{number}", copied=number == 1)
                    except FileNotFoundError:  # not so many yet
                        pass
                os.rename(fresh, path)
            else:  # removed, or replaced by somebody who rotates it himself
                fd = os.open(path, _FLAGS, 0o600)
            os.dup2(fd, self.fd, False)
            os.close(fd)
        except OSError:
            return False
        self._torn = False
        self._measure()
        return self._room > 0

    def _is_ours(self) -> bool:
        try:
            there, ours = os.stat(self._path), os.fstat(self.fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _place(old: str, new: str, copied: bool) -> None:
    """Rename; with `copied` the old name stays as well, until the new log takes its place."""
    if not copied:
        os.rename(old, new)
        return
    _forget(new)
    try:
        os.link(old, new)
    except OSError:  # a file system without hard links
        os.rename(old, new)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
