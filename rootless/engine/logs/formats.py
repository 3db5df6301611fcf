"""The lines of a log file as entries, whichever format they have (see monitor.logfile and monitor.json_log).

A chatty container writes hundreds of lines under one time. They are found and stripped of it together: one by one they
would cost ten times as much.
"""

from __future__ import annotations

from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_WINDOW = 1024  # bytes in which the end of a run of lines is sought first
_JSON_HEAD = b'{"log":"'


class Entry:
    """One entry of a log: `time` as RFC 3339 text, `stream` 1 or 2, `partial` where its line goes on, `data`.

    Whole lines that were written at once, under one time, may make one entry: then `data` has line feeds in it.
    """

    __slots__ = ("data", "partial", "stream", "time")

    def __init__(self, time: bytes, stream: int, partial: bool, data: bytes) -> None:
        self.time = time
        self.stream = stream
        self.partial = partial
        self.data = data


def parse(line: bytes) -> Entry:
    """The entry of a line without its line feed. Raises ValueError for a line that is none of ours."""
    if line[:1] == b"{":
        return _parse_json(line)
    time, stream, kind, data = line.split(b" ", 3)
    return Entry(time, 2 if stream == b"stderr" else 1, kind == b"P", data)


def _parse_json(line: bytes) -> Entry:
    found = loads(line)
    try:
        data = found["log"].encode("utf-8", "surrogateescape")
        time = found["time"].encode("ascii")
        stream = 2 if found.get("stream") == "stderr" else 1
    except (AttributeError, KeyError, TypeError):
        raise ValueError("no line of a log") from None
    partial = not data.endswith(b"\n")
    return Entry(time, stream, partial, data if partial else data[:-1])


def entries(block: bytes) -> Iterator[Entry]:
    """The entries of whole lines of a log; what is none, after a crash in the middle of a write, is left out."""
    start, singly_until = 0, 0
    while start < len(block):
        end = block.index(b"\n", start) + 1
        try:
            entry = parse(block[start : end - 1])
        except ValueError:
            start = end
            continue
        if not entry.partial and start >= singly_until:
            stop = _end_of_run(block, start, end, entry)
            if stop > end:
                together = _together(block[start:stop], block[start:end], entry)
                if together is not None:
                    entry.data = together
                    end = stop
                else:  # lines of the other stream are among them, or pieces
                    singly_until = stop
        yield entry
        start = end


def _end_of_run(block: bytes, start: int, end: int, entry: Entry) -> int:
    """Where the last line near `start` ends that begins (ends, with JSON) as the first; looks as far ahead as there are
    such lines."""
    if block.startswith(_JSON_HEAD, start):
        mark = _json_tail(block[start:end])
        if not mark:
            return end
    else:
        head = block[start : end - 1 - len(entry.data)]
        if not block.startswith(head, end):
            return end
        mark = b"\n" + head
    window = _WINDOW
    while True:
        last = block.rfind(mark, start, start + window)
        if start + window >= len(block) or 0 <= last < start + window // 2:
            break
        window *= 2
    return block.index(b"\n", last + 1) + 1


def _together(run: bytes, first: bytes, entry: Entry) -> bytes | None:
    """What the lines of a run say, where they differ in that alone."""
    if first.startswith(_JSON_HEAD):
        tail = _json_tail(first)
        if b"\\\\" in run:  # a backslash and an n are not to be taken for a line feed
            return None
        between, feed = tail + _JSON_HEAD, b"\\n"
        text = run[len(_JSON_HEAD) : -len(tail)].replace(between, feed)
    else:
        head = first[: len(first) - 1 - len(entry.data)]
        between, feed = b"\n" + head, b"\n"
        text = run[len(head) : -1].replace(between, feed)
    if (run.count(b"\n")) * len(between) + len(text) - (run.count(b"\n") - 1) * len(feed) != len(run):
        return None
    if feed == b"\n":
        return text
    try:
        return loads(b'"' + text + b'"').encode("utf-8", "surrogateescape")  # type: ignore[no-any-return]
    except (ValueError, AttributeError):
        return None


def _json_tail(line: bytes) -> bytes:
    """What follows the text of a whole line, its escaped line feed included; b"" where it is not as we write it."""
    at = line.rfind(b'\\n","stream":"')
    return line[at:] if at >= 0 else b""
