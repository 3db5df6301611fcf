"""The functions of templates: Go's own, and those that Docker and Podman add."""

from __future__ import annotations

from rootless.cli.template.omitted import NilList, NilMap
from rootless.cli.template.values import Structure, plain, truth
from rootless.errors import UsageError
from rootless.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _json(value: Any) -> str:
    """As Go's JSON: methods are not in it."""
    if isinstance(value, NilList | NilMap):
        return "null"
    if isinstance(value, Structure) and value.as_json is not None:
        value = value.as_json()
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if not callable(item)}
    return dumps(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise UsageError("template: index of something that is empty")
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise UsageError(f"template: a map is indexed by a string, not by {plain(key)}")
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else None)
        elif isinstance(value, bool | int | float) or isinstance(key, bool) or not isinstance(key, int):
            raise UsageError(f"template: cannot index {plain(value)[:40]} by {plain(key)}")
        elif not 0 <= key < len(value):
            raise UsageError(f"template: index {key} is out of range: there are {len(value)}")
        elif isinstance(value, str):
            value = value.encode()[key]
        else:
            value = value[key]
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    data = value.encode() if isinstance(value, str) else value
    stop = len(data) if end is None else end
    if not 0 <= start <= stop <= len(data):
        raise UsageError(f"template: slice {start}:{stop} is out of range: there are {len(data)}")
    part = data[start:stop]
    return part.decode("utf-8", "replace") if isinstance(value, str) else part


def _length(value: Any) -> int:
    return len(value.encode()) if isinstance(value, str) else len(value)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise UsageError("template: eq needs two values")
    return any(_same(first, other) for other in others)


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if _basic(one) != _basic(other):
        raise UsageError(f"template: {plain(one)} and {plain(other)} cannot be compared: their types differ")
    return bool(one == other)


def _basic(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "float", str: "string"}.get(type(value), "other")


def _less(one: Any, other: Any) -> bool:
    if _basic(one) != _basic(other) or _basic(one) not in ("int", "float", "string"):
        raise UsageError(f"template: {plain(one)} and {plain(other)} have no order")
    if isinstance(one, str):
        return one.encode("utf-8", "surrogateescape") < other.encode("utf-8", "surrogateescape")  # type: ignore[no-any-return]
    return bool(one < other)


def _print(*values: Any) -> str:
    """Go's Sprint: a blank between two operands of which neither is a string."""
    text = ""
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            text += " "
        text += plain(value)
    return text


def _println(*values: Any) -> str:
    return " ".join(map(plain, values)) + "\n"


def _printf(text: str, *values: Any) -> str:
    from rootless.cli.template.printf import sprintf

    return sprintf(text, values)


def _html(*values: Any) -> str:
    text = _print(*values)
    for old, new in (("&", "&amp;"), ("'", "&#39;"), ('"', "&#34;"), ("<", "&lt;"), (">", "&gt;"), ("\0", "\ufffd")):
        text = text.replace(old, new)
    return text


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*values))


_SCRIPT = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*values: Any) -> str:
    return "".join(_SCRIPT.get(c) or (f"\\u{ord(c):04X}" if ord(c) < 32 else c) for c in _print(*values))


def _join(values: Any, separator: str) -> str:
    """Parts put together; what is one string already stays as it is (names, for whoever writes `join .Names`)."""
    return values if isinstance(values, str) else separator.join(map(_text, values or ()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else plain(value)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    return "".join(c.upper() if place == 0 or not text[place - 1].isalnum() else c for place, c in enumerate(text))


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[: max(length, 0)] if len(text) > length else text


def _string(method: str) -> Any:
    def changed(text: Any) -> str:
        if not isinstance(text, str):
            raise TypeError
        return str(getattr(text, method)())

    return changed


FUNCTIONS: dict[str, Any] = {
    "eq": _equal,
    "ge": lambda one, other: not _less(one, other),
    "gt": lambda one, other: _less(other, one),
    "html": _html,
    "index": _index,
    "join": _join,
    "js": _js,
    "json": _json,
    "le": lambda one, other: not _less(other, one),
    "len": _length,
    "lower": _string("lower"),
    "lt": _less,
    "ne": lambda one, other: not _same(one, other),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": _truncate,
    "upper": _string("upper"),
    "urlquery": _urlquery,
}
