"""A log that lies in files: the one that is written, and those that it was before (LOG.1, LOG.2, ...; see rotation)."""

from __future__ import annotations

import errno
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
_IN_MODIFY, _IN_ATTRIB, _IN_NONBLOCK, _IN_CLOEXEC = 2, 4, 0o4000, 0o2000000


class FileSource:
    """Reads a log from the beginning or its last `tail` lines on; with `life` until the container has ended.

    `rotated`: how many files there may be beside `path`. `fds`: what becomes readable when there is more to read.
    Raises FileNotFoundError where there is no log, StorageError, ConflictError.
    """

    def __init__(self, path: str, rotated: int, tail: int, life: Life | None) -> None:
        self._path = path
        self._rotated = rotated
        self._files, self._number = _open_all(path, rotated)  # the oldest first; the first is being read
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
            if rotated:
                life.before_end = self._find_all
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
            elif self._life is None or not self._find_next():
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
        # A log that is replaced loses a name: that is a change of its attributes.
        place = f"/proc/self/fd/{self._files[0]}"
        check(
            libc.call("inotify_add_watch", self._inotify, place, _IN_MODIFY | _IN_ATTRIB),
            "inotify_add_watch",
            self._path,
        )

    def _find_next(self) -> bool:
        """Whether the log goes on in another file than the last that is open; that is opened then.

        What was written to the one that is read between our last look and the moment when it was replaced is read
        before: it stays the first of the files until it has no more.
        """
        if not self._rotated:
            return False
        try:
            found = _next(self._path, self._rotated, self._files[-1], self._number)
        except LookupError:
            found = _next_of_lost(self._path, self._rotated, self._files[-1])
        if found is None:
            return False
        self._files.append(found[0])
        self._number = found[1]
        return True

    def _find_all(self) -> None:
        """Open what there is before it is removed."""
        while self._find_next():
            pass

    def _skip_to(self, tail: int) -> None:
        index, offset = tail_position(self._files, tail)
        for fd in self._files[:index]:
            os.close(fd)
        del self._files[:index]
        os.lseek(self._files[0], offset, os.SEEK_SET)


def _open_all(path: str, rotated: int) -> tuple[list[int], int]:
    """The files of a log, the oldest first, and the number of the last at some moment. Raises FileNotFoundError."""
    while True:
        number = rotated
        while (fd := _open(path, number)) is None:
            if number == 0:
                raise FileNotFoundError(path)
            number -= 1
        files = [fd]
        try:
            while (found := _next(path, rotated, files[-1], number)) is not None:
                files.append(found[0])
                number = found[1]
            return files, number
        except LookupError:  # rotated away meanwhile: begin again with what is the oldest now
            for fd in files:
                os.close(fd)


def _next(path: str, rotated: int, fd: int, at_least: int) -> tuple[int, int] | None:
    """The file in which a log goes on after the one that is open as `fd`, and its number; None where there is none yet.

    Files change their names meanwhile, always upwards, one by one from the oldest on; `at_least` is a number that `fd`
    had once. As long as it keeps its own, the nearest one below is the next. Raises LookupError where `fd` has gone.
    """
    ours = _identity(os.fstat(fd))
    while True:
        number = at_least
        while number <= rotated and _identity_of(path, number) != ours:
            number += 1
        if number > rotated:
            raise LookupError
        below = number - 1
        found = None
        while below >= 0 and (found := _open(path, below)) is None:  # a gap wanders down while the others move up
            below -= 1
        settled = _identity_of(path, number) == ours
        if found is None:
            if settled:
                return None
            continue
        gap = range(below + 1, number)
        if settled and not any(_is_there(path, inside) for inside in gap):
            if _identity(os.fstat(found)) != ours:
                return found, below
            at_least = below  # it has two names for a moment, or since a monitor was killed in that moment
        os.close(found)


def _next_of_lost(path: str, rotated: int, fd: int) -> tuple[int, int] | None:
    """As `_next`, where `fd` has gone: it was older than all that are kept, or somebody has removed it. Those that
    were written to later are newer."""
    if _identity_of(path, 0) is None:
        return None
    last = os.fstat(fd).st_mtime_ns
    for number in range(rotated, -1, -1):
        found = _open(path, number)
        if found is not None:
            if os.fstat(found).st_mtime_ns >= last:
                return found, number
            os.close(found)
    return None


def _name(path: str, number: int) -> str:
    return f"{path}.{number}" if number else path


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _identity_of(path: str, number: int) -> tuple[int, int] | None:
    try:
        return _identity(os.stat(_name(path, number)))
    except OSError:
        return None


def _is_there(path: str, number: int) -> bool:
    fd = _open(path, number)
    if fd is not None:
        os.close(fd)
    return fd is not None


def _open(path: str, number: int) -> int | None:
    """One file of a log; None where there is none. Raises StorageError, ConflictError for what is no log; among those
    that were rotated that is passed over."""
    try:
        fd = os.open(_name(path, number), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if number and error.errno not in (errno.EMFILE, errno.ENFILE):
            return None
        raise StorageError(f"reading the log {path}: {error.strerror}") from None
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if number:
        return None
    if stat.S_ISDIR(mode):
        raise StorageError(f"reading the log {path}: it is a directory")
    raise ConflictError(f"reading the log {path}: it is no file, and keeps nothing")


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
