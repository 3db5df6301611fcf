"""A log that lies in files: the one that is written, and those that it was before (LOG.1, LOG.2, ...; see rotation)."""

from __future__ import annotations

import os
import stat

from rootless.engine.logs.formats import entries, parse
from rootless.errors import ConflictError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.engine.logs.formats import Entry
    from rootless.engine.logs.life import Life

_BLOCK = 1 << 18
_LONGEST = 1 << 24  # bytes; no entry of ours is so long
_IN_MODIFY, _IN_MOVE_SELF, _IN_NONBLOCK, _IN_CLOEXEC = 2, 0x800, 0o4000, 0o2000000


class FileSource:
    """Reads a log from the beginning or its last `tail` lines on; with `life` until the container has ended.

    `rotated`: how many files there may be beside `path`. `fds`: what becomes readable when there is more to read.
    Raises FileNotFoundError where there is no log, StorageError, ConflictError.
    """

    def __init__(self, path: str, rotated: int, tail: int, life: Life | None) -> None:
        self._path = path
        self._rotated = rotated
        self._files = _open_all(path, rotated)  # the oldest first; the first is being read
        self._rest: list[bytes] = []  # the beginning of a line whose end is not there yet
        self._rest_size = 0
        self._life = life
        self._inotify = -1
        if tail >= 0:
            self._skip_to(tail)
        # Without following, a container that writes faster than we read is not to keep us for ever.
        self._limit = os.fstat(self._files[-1]).st_size if life is None else 0
        self.fds: tuple[int, ...] = ()
        if life is not None:
            self._watch()
            self.fds = (self._inotify, life.fileno())

    def more(self) -> Iterator[Entry] | None:
        """Entries that are there; None where there are no more now."""
        while True:
            block = self._read()
            if block:
                whole, newline, rest = block.rpartition(b"\n")
                if newline:
                    block = b"".join([*self._rest, whole, newline])
                    self._rest, self._rest_size = [rest], len(rest)
                    return entries(block)
                self._rest.append(rest)
                self._rest_size += len(rest)
                if self._rest_size > _LONGEST:
                    self._rest, self._rest_size = [], 0
            elif len(self._files) > 1:
                os.close(self._files.pop(0))
                self._rest, self._rest_size = [], 0
                if self._life is not None:
                    self._watch()
            elif self._life is None or not self._has_successors():
                return None

    def _read(self) -> bytes:
        fd = self._files[0]
        if self._life is not None or len(self._files) > 1:
            return os.read(fd, _BLOCK)
        return os.read(fd, max(0, min(_BLOCK, self._limit - os.lseek(fd, 0, os.SEEK_CUR))))

    def ended(self) -> bool:
        """Whether there is nothing to wait for; to be asked after `more` had nothing."""
        return self._life is None or self._life.over

    def woken(self, fd: int) -> None:
        """One of `fds` is readable."""
        if self._life is not None and fd == self._life.fileno():
            self._life.look()
            self.fds = (self._inotify, self._life.fileno())
        else:
            try:
                os.read(fd, 4096)
            except BlockingIOError:
                pass

    def close(self) -> None:
        for fd in (*self._files, self._inotify):
            if fd >= 0:
                os.close(fd)
        if self._life is not None:
            self._life.close()

    def _watch(self) -> None:
        from rootless.kernel.libc import check, libc

        if self._inotify < 0:
            self._inotify = check(libc.call("inotify_init1", _IN_NONBLOCK | _IN_CLOEXEC), "inotify_init1")
        place = f"/proc/self/fd/{self._files[0]}"
        check(
            libc.call("inotify_add_watch", self._inotify, place, _IN_MODIFY | _IN_MOVE_SELF),
            "inotify_add_watch",
            self._path,
        )

    def _has_successors(self) -> bool:
        """Whether the log goes on in other files than the one that was read to its end; they are opened then."""
        if not self._rotated:
            return False
        ours = os.fstat(self._files[0])
        try:
            there = os.stat(self._path)
        except OSError:  # removed, and with it what would follow
            return False
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
            return False
        try:
            found = _open_all(self._path, self._rotated)
        except (OSError, StorageError, ConflictError):
            return False
        states = [os.fstat(fd) for fd in found]
        keys = [(state.st_dev, state.st_ino) for state in states]
        if (ours.st_dev, ours.st_ino) in keys:
            first = keys.index((ours.st_dev, ours.st_ino)) + 1
        else:  # it is older than all that is kept, or was taken away by hand: then others may be older than it
            ages = [state.st_mtime_ns >= ours.st_mtime_ns for state in states]
            first = ages.index(True) if True in ages else len(found)
        for fd in found[:first]:
            os.close(fd)
        # What was written to it between our last look and the moment when it was replaced is read before the others:
        # it stays the first of the files until it has no more.
        self._files += found[first:]
        return len(self._files) > 1

    def _skip_to(self, tail: int) -> None:
        index, offset = tail_position(self._files, tail)
        for fd in self._files[:index]:
            os.close(fd)
        del self._files[:index]
        os.lseek(self._files[0], offset, os.SEEK_SET)


def _open_all(path: str, rotated: int) -> list[int]:
    """The files of a log, the oldest first. They may change their names meanwhile, always upwards, so they are looked
    for in this direction; what is seen twice is kept once."""
    found: list[int] = []
    seen = set()
    for number in range(rotated + 1):
        try:
            fd = os.open(f"{path}.{number}" if number else path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if number == 0 and not rotated:
                raise
            continue
        except OSError as error:
            if number:
                continue
            raise StorageError(f"reading the log {path}: {error.strerror}") from None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            if number:
                continue
            if stat.S_ISDIR(status.st_mode):
                raise StorageError(f"reading the log {path}: it is a directory")
            raise ConflictError(f"reading the log {path}: it is no file, and keeps nothing")
        if (status.st_dev, status.st_ino) in seen:
            os.close(fd)
        else:
            seen.add((status.st_dev, status.st_ino))
            found.insert(0, fd)
    if not found:
        raise FileNotFoundError(path)
    return found


def tail_position(files: list[int], count: int) -> tuple[int, int]:
    """Which file, and where in it, the last `count` lines begin. A line is all entries of a stream up to one that is
    not partial."""
    sizes = [os.fstat(fd).st_size for fd in files]
    end = sum(sizes)
    if count == 0:
        return len(files) - 1, sizes[-1]
    start = end
    while start:
        start = max(0, end - max(_BLOCK, (end - start) * 2))
        begins = _line_beginnings(_read_across(files, sizes, start), start)
        if len(begins) > count:
            return _place(sizes, begins[-count])
    return 0, 0


def _place(sizes: list[int], offset: int) -> tuple[int, int]:
    for index, size in enumerate(sizes):
        if offset < size:
            return index, offset
        offset -= size
    return len(sizes) - 1, sizes[-1]


def _read_across(files: list[int], sizes: list[int], start: int) -> bytes:
    """What the files hold from `start` on, as if they were one."""
    pieces = []
    for fd, size in zip(files, sizes, strict=True):
        if start < size:
            pieces.append(os.pread(fd, size - max(start, 0), max(start, 0)))
        start -= size
    return b"".join(pieces)


def _line_beginnings(chunk: bytes, start: int) -> list[int]:
    """Where lines begin in a part of a log that begins at `start`; its first line may not be whole."""
    offset = 0 if start == 0 else chunk.find(b"\n") + 1
    begins: list[int] = []
    inside = {1: False, 2: False}
    while (end := chunk.find(b"\n", offset)) >= 0:
        line = chunk[offset:end]
        try:
            entry = parse(line)
        except ValueError:
            pass
        else:
            if not inside[entry.stream]:
                begins.append(start + offset)
            inside[entry.stream] = entry.partial
        offset = end + 1
    return begins
