"""A log in the journal, read through `journalctl` in its export format, which takes any bytes
(https://systemd.io/JOURNAL_EXPORT_FORMATS)."""

from __future__ import annotations

import os
import select
import signal

from rootless.engine.logs.formats import Entry
from rootless.engine.monitor.logfile import stamp
from rootless.errors import ConflictError, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.engine.logs.life import Life
    from rootless.engine.logs.voice import Choice

_BLOCK = 1 << 18
_QUIET = 500  # milliseconds without anything new after which an ended container has nothing more in the journal
_PROGRAM = "journalctl"


class JournalSource:
    """Reads what the journal has of a container; with `life` until it has ended. See voice.Source.

    Raises ConflictError where there is no journalctl.
    """

    def __init__(self, container_id: str, choice: Choice, life: Life | None) -> None:
        self._life = life
        self._rest = b""
        self._done = False
        self._last: list[Entry] = []
        words = [_PROGRAM, "--quiet", "--no-pager", "--output=export", "--all", f"CONTAINER_ID_FULL={container_id}"]
        if choice.tail > 0:
            self._last, cursor = _last_lines([*words, "--reverse"], choice.tail)
            words.append(f"--after-cursor={cursor}" if cursor else "--lines=all")
        else:
            words.append("--lines=all" if choice.tail else "--lines=0")
        if life is not None:
            words.append("--follow")
        self._pid, self._out, self._errors = _spawn(words)
        self.fds: tuple[int, ...] = (self._out, life.fileno() if life is not None else -1)

    def more(self) -> Iterator[Entry] | None:
        """See voice.Source."""
        if self._last:
            last, self._last = self._last, []
            return iter(last)
        while not self._done:
            if self._life is not None:
                patience = _QUIET if self._life.over else 0
                if not _readable(self._out, patience):
                    return None
            block = os.read(self._out, _BLOCK)
            if not block:
                self._reap()
                return None
            found, self._rest = parse_export(self._rest + block)
            if found:
                return iter(found)
        return None

    def ended(self) -> bool:
        """See voice.Source."""
        return self._done or self._life is None or self._life.over

    def woken(self, fd: int) -> None:
        """See voice.Source."""
        if self._life is not None and fd == self._life.fileno():
            self._life.look()
            self.fds = (self._out, self._life.fileno())

    def close(self) -> None:
        if not self._done:
            os.kill(self._pid, signal.SIGTERM)
            os.waitpid(self._pid, 0)
        os.close(self._out)
        os.close(self._errors)
        if self._life is not None:
            self._life.close()

    def _reap(self) -> None:
        self._done = True
        _check_end(self._pid, self._errors)


def _check_end(pid: int, errors: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = os.pread(errors, 4096, 0).decode("utf-8", "replace").strip()
    if status and said:  # with nothing to say it has found nothing
        raise RootlessError(f"reading the journal: {said.splitlines()[-1]}", "see `journalctl --user`")


def _last_lines(words: list[str], count: int) -> tuple[list[Entry], str]:
    """The entries of the last `count` lines, and the cursor of the very last ("" where there is none)."""
    pid, out, errors = _spawn(words)
    found: list[Entry] = []
    cursor = b""
    lines = 0
    inside = {1: False, 2: False}  # streams of which an entry has been seen that comes later
    rest = b""
    try:
        while block := os.read(out, _BLOCK):
            new, rest = parse_export(rest + block)
            for entry in new:
                cursor = cursor or entry.cursor
                lines += not (entry.partial and inside[entry.stream])
                if lines > count:
                    os.kill(pid, signal.SIGTERM)
                    os.waitpid(pid, 0)
                    return found[::-1], cursor.decode()
                inside[entry.stream] = True
                found.append(entry)
        _check_end(pid, errors)
        return found[::-1], cursor.decode()
    finally:
        os.close(out)
        os.close(errors)


def _readable(fd: int, milliseconds: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _spawn(words: list[str]) -> tuple[int, int, int]:
    """Start journalctl; its number, its output, and a file with what it says."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    errors = os.memfd_create("journalctl")
    try:
        pid = os.posix_spawnp(
            words[0],
            words,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, errors, 2)],
        )
    except FileNotFoundError:
        os.close(reader)
        os.close(errors)
        raise ConflictError(
            "reading the journal: journalctl is not installed", "it comes with systemd: sudo apt-get install systemd"
        ) from None
    finally:
        os.close(writer)
    return pid, reader, errors


class JournalEntry(Entry):
    """An entry with its place in the journal."""

    __slots__ = ("cursor",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        moment = int(fields.get(b"_SOURCE_REALTIME_TIMESTAMP") or fields.get(b"__REALTIME_TIMESTAMP") or 0)
        stream = 2 if fields.get(b"PRIORITY") == b"3" else 1
        partial = b"CONTAINER_PARTIAL_MESSAGE" in fields
        super().__init__(stamp(moment * 1000), stream, partial, fields.get(b"MESSAGE", b""))
        self.cursor = fields.get(b"__CURSOR", b"")


def parse_export(data: bytes) -> tuple[list[JournalEntry], bytes]:
    """The whole entries of an export, and the beginning of the next one."""
    found: list[JournalEntry] = []
    start = at = 0
    fields: dict[bytes, bytes] = {}
    while (end := data.find(b"\n", at)) >= 0:
        line = data[at:end]
        at = end + 1
        if not line:
            if fields:
                found.append(JournalEntry(fields))
            fields = {}
            start = at
            continue
        name, equals, value = line.partition(b"=")
        if not equals:  # a length, so many bytes, a line feed
            size = int.from_bytes(data[at : at + 8], "little")
            if at + 8 + size + 1 > len(data):
                break
            value = data[at + 8 : at + 8 + size]
            at += 8 + size + 1
        fields[name] = value
    return found, data[start:]
