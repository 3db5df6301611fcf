"""Go templates for `--format`, as users of Docker and Podman write them (https://pkg.go.dev/text/template).

Data are plain values: dicts, lists, strings, numbers, booleans, None, and functions for what Go has methods for
(`.Label "x"`). Text with nothing but fields in it ({{.State.Pid}}) is rendered here; all else by `engine`, which is
loaded only then.
"""

from __future__ import annotations

from rootless.cli.template.values import field, show
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ESCAPES = (("\\t", "\t"), ("\\n", "\n"))


def compile_template(text: str) -> Callable[[Any], str]:
    """The function that renders `text` for one value. Raises UsageError for text that is no template.

    The function raises UsageError where the value has no such field, or a function cannot work on what it is given.
    """
    parts = _plain(text)
    if parts is not None:
        return lambda value: "".join([part if isinstance(part, str) else _chain(value, part) for part in parts])
    from rootless.cli.template.engine import Template

    return Template(text).render


def render(text: str, value: Any) -> str:
    """`text` rendered for one value (no newline added)."""
    return compile_template(unescape(text))(value)


def unescape(text: str) -> str:
    """A format as typed in a shell: a backslash and t or n, outside of actions, are a tab and a newline."""
    if "\\" not in text:
        return text
    parts = text.split("{{")
    for number, part in enumerate(parts):
        inside, braces, outside = part.rpartition("}}") if number else ("", "", part)
        for escape, character in _ESCAPES:
            outside = outside.replace(escape, character)
        parts[number] = inside + braces + outside
    return "{{".join(parts)


def rows(text: str, values: list[Any], headings: dict[str, str] | None = None, heading: bool = True) -> str:
    """Each value rendered as a line. "table ..." sets columns under `headings` (field -> heading, default: its name in
    capitals), unless `heading` is false; blanks or tabs in it part the columns."""
    from rootless.cli.output import table

    is_table = text.startswith("table ")
    text = unescape(text[6:].strip() if is_table else text)
    if not is_table:
        line = compile_template(text)
        return "".join([one if one.endswith("\n") else one + "\n" for one in map(line, values)])
    text = _columns(text)
    lines = ["\t".join([_heading(column, headings or {}) for column in _split_columns(text)])] if heading else []
    lines += map(compile_template(text), values)
    return table([one.rstrip("\n").split("\t") for one in lines]) if lines else ""


def _heading(column: str, headings: dict[str, str]) -> str:
    """What stands above a column: the name of the first field in it, or its own text where there is none."""
    action = column.partition("{{")[2]
    for piece in action.split(".")[1:]:
        size = 0
        while size < len(piece) and (piece[size] == "_" or piece[size].isalnum()):
            size += 1
        name = piece[:size]
        if name in headings:
            return headings[name]
        if name and size < len(piece):  # otherwise the chain goes on, and its last name counts
            pairs = zip("A" + name, name, strict=False)
            return "".join(" " + now if now.isupper() and not last.isupper() else now for last, now in pairs).upper()
    return column


def _split_columns(text: str) -> list[str]:
    """The columns of a line, parted at tabs outside of actions."""
    columns = [""]
    for number, part in enumerate(text.split("{{")):
        inside, braces, outside = part.rpartition("}}") if number else ("", "", part)
        first, *others = outside.split("\t")
        columns[-1] += ("{{" if number else "") + inside + braces + first
        columns += others
    return columns


def _columns(text: str) -> str:
    """Blanks between actions turned into the tabs that part columns."""
    parts = text.split("{{")
    for number, part in enumerate(parts):
        inside, braces, outside = part.rpartition("}}") if number else ("", "", part)
        parts[number] = inside + braces + outside.replace(" ", "\t")
    return "{{".join(parts)


def _plain(text: str) -> list[str | tuple[str, ...]] | None:
    """Literal text and chains of fields; None where there is more in it."""
    parts: list[str | tuple[str, ...]] = []
    pieces = text.split("{{")
    parts.append(pieces[0])
    for piece in pieces[1:]:
        action, closed, after = piece.partition("}}")
        action = action.strip(" \t")
        if not closed or action[:1] != ".":
            return None
        names = tuple(action[1:].split(".")) if len(action) > 1 else ()
        if not all(name.isidentifier() for name in names):
            return None
        parts.append(names)
        parts.append(after)
    return parts


def _chain(value: Any, names: tuple[str, ...]) -> str:
    for name in names:
        value = field(value, name)
        if callable(value):
            value = value()
    return show(value)


__all__ = ["UsageError", "compile_template", "render", "rows", "unescape"]
