"""`logs`: what a container has written, read back from its log (see monitor.logfile)."""

from __future__ import annotations

import os
import select
import time

from rootless.engine.attach import connect, unreachable
from rootless.engine.logplace import log_path
from rootless.engine.recover import find
from rootless.errors import ConflictError, StorageError, UsageError
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storage.store import Store

    # (number of the stream, bytes)
    Write = Callable[[int, bytes], None]

_BLOCK = 1 << 18
_WINDOW = 1024  # bytes in which the end of a run of lines is sought first
_IN_MODIFY, _IN_NONBLOCK, _IN_CLOEXEC = 2, 0o4000, 0o2000000


class Entry:
    """One entry of a log: `time` as RFC 3339 text, `stream` 1 or 2, `partial` where its line goes on, `data`.

    Whole lines that were written at once, under one time, may make one entry: then `data` has line feeds in it.
    """

    __slots__ = ("data", "partial", "stream", "time")

    def __init__(self, line: bytes) -> None:
        """Raises ValueError for a line that is none of ours."""
        self.time, stream, kind, self.data = line.split(b" ", 3)
        self.stream = 2 if stream == b"stderr" else 1
        self.partial = kind == b"P"


def entries(block: bytes) -> Iterator[Entry]:
    """The entries of whole lines of a log; what is none, after a crash in the middle of a write, is left out.

    A chatty container writes hundreds of lines under one time. They are found and stripped of it together: one by one
    they would cost ten times as much.
    """
    start, singly_until = 0, 0
    while start < len(block):
        end = block.index(b"\n", start) + 1
        try:
            entry = Entry(block[start : end - 1])
        except ValueError:
            start = end
            continue
        head = block[start : end - 1 - len(entry.data)]
        if not entry.partial and start >= singly_until and block.startswith(head, end):
            stop = _end_of_run(block, start, head)
            run = block[start:stop]
            data = run[len(head) : -1].replace(b"\n" + head, b"\n")
            if run.count(b"\n") * len(head) + len(data) + 1 == len(run):
                entry.data = data
                end = stop
            else:  # lines of the other stream are among them
                singly_until = stop
        yield entry
        start = end


def _end_of_run(block: bytes, start: int, head: bytes) -> int:
    """Where the last line near `start` that begins with `head` ends; looks as far ahead as there are such lines."""
    window = _WINDOW
    while True:
        last = block.rfind(b"\n" + head, start, start + window)
        if start + window >= len(block) or 0 <= last < start + window // 2:
            break
        window *= 2
    return block.index(b"\n", last + 1) + 1


def follow_logs(
    store: Store,
    reference: str,
    write: Write,
    *,
    follow: bool = False,
    tail: int = -1,
    since: str | None = None,
    until: str | None = None,
    timestamps: bool = False,
    prefix: bytes = b"",
) -> None:
    """Give what a container has written to `write`, byte for byte unless `timestamps` or a `prefix` for each line are
    wanted; with `follow` go on until it ends. `tail`: only so many lines from the end, -1 for all.

    Raises NotFoundError, ConflictError where it keeps no log or cannot be followed, StorageError where its log cannot
    be read, UsageError for times that are none.
    """
    first = parse_time(since) if since else b""
    last = parse_time(until) if until else b""
    container = find(store, reference)
    request = loads(container.request)
    if request.get("log_driver") == "none":
        raise ConflictError(f"reading the log of {container.name}: it keeps none (--log-driver none)")
    path = log_path(store, container.id, request.get("log_opt", []))
    connection = None
    if follow and container.alive:
        connection = connect(store, container.id)
        if connection is None:
            container = find(store, container.id)  # it may have just ended
            if container.alive:
                raise unreachable(store, container, "following")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.read(fd, 0)  # a directory refuses
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not (container.started and container.state != "initialized"):
            return  # it has never run
        raise _unreadable(path, error) from None
    printer = _Printer(write, timestamps, prefix)
    try:
        if tail >= 0:
            os.lseek(fd, _tail_offset(fd, tail), os.SEEK_SET)
        for block in _blocks(fd, path, connection):
            for entry in entries(block):
                if first and entry.time < first:
                    continue
                if last and entry.time > last:
                    return
                printer.print(entry)
            printer.flush()
    finally:
        printer.flush()
        os.close(fd)
        if connection is not None:
            connection.close()


def _unreadable(path: str, error: OSError) -> StorageError:
    hint = None
    if isinstance(error, FileNotFoundError):
        hint = "something has removed it; the next start of the container makes a new one"
    return StorageError(f"reading the log {path}: {error.strerror}", hint)


class _Printer:
    """Gives entries to `write`, those of one stream that follow one another together."""

    def __init__(self, write: Write, timestamps: bool, prefix: bytes) -> None:
        self._write = write
        self._timestamps = timestamps
        self._prefix = prefix
        self._inside = {1: False, 2: False}  # in the middle of a line
        self._stream = 1
        self._waiting: list[bytes] = []

    def print(self, entry: Entry) -> None:
        data = entry.data
        if self._timestamps or self._prefix:
            head = self._prefix + b" " if self._prefix else b""
            if self._timestamps:
                head += entry.time + b" "
            data = data.replace(b"\n", b"\n" + head)
            if not self._inside[entry.stream]:
                data = head + data
            self._inside[entry.stream] = entry.partial
        if entry.stream != self._stream:
            self.flush()
            self._stream = entry.stream
        self._waiting.append(data if entry.partial else data + b"\n")

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._write(self._stream, b"".join(waiting))


def _blocks(fd: int, path: str, connection: object) -> Iterator[bytes]:
    """The log from the position of `fd` on, whole lines at a time; with a `connection` to the container's monitor also
    what is to come."""
    pieces: list[bytes] = []
    waiter = _Waiter(path, connection) if connection is not None else None
    ended = waiter is None
    while True:
        block = os.read(fd, _BLOCK)
        if block:
            whole, newline, rest = block.rpartition(b"\n")
            if newline:
                yield b"".join([*pieces, whole, newline])
                pieces = [rest]
            else:
                pieces.append(block)
        elif ended:
            return
        elif waiter is not None:
            ended = waiter.wait()


class _Waiter:
    """Wakes up when the log grows or the container has ended."""

    def __init__(self, path: str, connection: object) -> None:
        from rootless.kernel.libc import check, libc

        self._connection = connection
        self._inotify = check(libc.call("inotify_init1", _IN_NONBLOCK | _IN_CLOEXEC), "inotify_init1")
        check(libc.call("inotify_add_watch", self._inotify, path, _IN_MODIFY), "inotify_add_watch", path)
        self._poll = select.poll()
        self._poll.register(self._inotify, select.POLLIN)
        self._poll.register(connection.fileno(), select.POLLIN)  # type: ignore[attr-defined]

    def wait(self) -> bool:
        """Whether the container has ended."""
        # A line may have come between the last look and the watch: one second is the most that it waits.
        for fd, _ in self._poll.poll(1000):
            if fd != self._inotify:
                return True
            try:
                os.read(self._inotify, 4096)
            except BlockingIOError:
                pass
        return False


def _tail_offset(fd: int, count: int) -> int:
    """Where the last `count` lines begin. A line is all entries of a stream up to one that is not partial."""
    end = os.fstat(fd).st_size
    if count == 0:
        return end
    start = end
    while start:
        start = max(0, end - max(_BLOCK, (end - start) * 2))
        chunk = os.pread(fd, end - start, start)
        offset = 0 if start == 0 else chunk.find(b"\n") + 1
        begins: list[int] = []
        inside = {b"stdout": False, b"stderr": False}
        for line in chunk[offset:].splitlines(keepends=True):
            fields = line.split(b" ", 3)
            if len(fields) == 4 and fields[1] in inside:
                if not inside[fields[1]]:
                    begins.append(start + offset)
                inside[fields[1]] = fields[2] == b"P"
            offset += len(line)
        if len(begins) > count:
            return begins[-count]
    return 0


def parse_time(text: str) -> bytes:
    """`--since`, `--until`: RFC 3339, a date, Unix seconds, or how long ago (10m, 1h30m), as the log writes times.

    Raises UsageError.
    """
    seconds = _duration(text)
    if seconds is not None:
        moment = time.time() - seconds
    else:
        try:
            moment = float(text)
        except ValueError:
            moment = _calendar(text)
    whole = int(moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)).encode() + b".%09dZ" % int((moment - whole) * 1e9)


def _duration(text: str) -> float | None:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "d": 86400.0}
    total, number, unit = 0.0, "", ""
    for character in text + "0":
        if character.isdigit() or character == ".":
            if unit:
                if unit not in units or not number:
                    return None
                total += float(number) * units[unit]
                number, unit = "", ""
            number += character
        else:
            unit += character
    return total if number == "0" and not text[-1:].isdigit() and text else None


def _calendar(text: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time", "write it like 2024-01-02T03:04:05Z, or 10m for ten minutes ago"
        ) from None
