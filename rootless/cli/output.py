"""What goes to standard output: bytes, tables, JSON, and sizes and times as people read them."""

from __future__ import annotations

import os
import time

from rootless.errors import RootlessError
from rootless.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_STDOUT = 1
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def write(text: str) -> None:
    """Write all of `text` to standard output, at once.

    Raises BrokenPipeError where nobody reads any more, RootlessError where it cannot be written.
    """
    write_bytes(text.encode("utf-8", "surrogateescape"))


def write_bytes(data: bytes, stream: int = _STDOUT) -> None:
    """As `write`, for bytes; `stream` 2 is standard error."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(stream, view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "output" if stream == _STDOUT else "error"
        raise RootlessError(f"writing to standard {name}: {error.strerror}") from None


def lines(rows: Iterable[str]) -> None:
    """Write each row as one line; nothing at all where there are none."""
    text = "\n".join(rows)
    if text:
        write(text + "\n")


def table(rows: list[list[str]]) -> str:
    """Columns as Podman sets them: 12 wide at least, two blanks between, the last one as it is. Ends with a newline.

    Cells come from images, too: what would move the cursor or break the line is shown escaped.
    """
    if not rows:
        return ""
    rows = [[cell if cell.isprintable() else printable(cell) for cell in row] for row in rows]
    widths = [max(12, 2 + max(map(len, column))) for column in list(zip(*rows, strict=True))[:-1]]
    return "".join(
        "".join([cell.ljust(width) for cell, width in zip(row, widths, strict=False)]) + row[-1] + "\n" for row in rows
    )


def printable(text: str, allowed: str = "") -> str:
    """`text` with control characters, other than those `allowed`, written as escapes."""
    return "".join([c if c.isprintable() or c in allowed else ascii(c)[1:-1] for c in text])


def pretty_json(value: Any, indent: str = "    ") -> str:
    """JSON over several lines, without a newline at its end."""
    return _pretty(value, "\n", indent)


def _pretty(value: Any, newline: str, indent: str) -> str:
    inner = newline + indent
    if isinstance(value, dict) and value:
        pairs = [f"{dumps(str(key))}: {_pretty(item, inner, indent)}" for key, item in value.items()]
        return "{" + inner + ("," + inner).join(pairs) + newline + "}"
    if isinstance(value, list | tuple) and value:
        return "[" + inner + ("," + inner).join([_pretty(item, inner, indent) for item in value]) + newline + "]"
    return dumps(value)


def human_size(size: float, digits: int = 3) -> str:
    """Bytes in decimal units with as many significant digits: "512 B", "8.09 MB"."""
    unit = 0
    while size >= 1000 - 500 / 10**digits and unit < len(_DECIMAL) - 1:
        size /= 1000
        unit += 1
    return f"{size:.{digits}g} {_DECIMAL[unit]}"


def compact_size(size: float) -> str:
    """As `human_size`, with four digits and no blank, as Docker and Podman say what disks hold: "2.029MB"."""
    unit = 0
    while size >= 1000 and unit < len(_DECIMAL) - 1:
        size /= 1000
        unit += 1
    return f"{size:.4g}{_DECIMAL[unit]}"


def human_duration(seconds: float) -> str:
    """A span of time in words, as Docker says it: "About a minute", "3 hours", "2 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, hours_each, unit in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // hours_each} {unit}"
    return f"{hours // 8760} years"


def ago(moment: float, now: float | None = None) -> str:
    """How long `moment` (seconds since 1970) is past: "5 minutes ago"."""
    return human_duration((time.time() if now is None else now) - moment) + " ago"


def go_time(moment: float) -> str:
    """A moment as Go prints times: "2024-01-02 03:04:05.123456789 +0100 CET"."""
    local = time.localtime(moment)
    nanoseconds = int(moment % 1 * 1_000_000) * 1000
    fraction = f".{nanoseconds:09}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%d %H:%M:%S", local) + fraction + time.strftime(" %z %Z", local)


def short(identifier: str) -> str:
    """The 12 digits that stand for an id."""
    return identifier[:12]
