"""Go's Sprintf for the values that templates have."""

from __future__ import annotations

from rootless.cli.template.values import plain, show_float
from rootless.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = {
    str: "string",
    int: "int",
    bool: "bool",
    float: "float64",
    list: "[]interface {}",
    dict: "map[string]interface {}",
}


def sprintf(text: str, values: tuple[Any, ...]) -> str:
    """`text` with its verbs filled from `values`; wrong verbs are shown in place, as Go does (%!d(string=x))."""
    made: list[str] = []
    at = 0
    used = 0
    while at < len(text):
        percent = text.find("%", at)
        if percent < 0:
            made.append(text[at:])
            break
        made.append(text[at:percent])
        at = percent + 1
        flags = ""
        while at < len(text) and text[at] in "+-# 0":
            flags += text[at]
            at += 1
        width, at, used = _count(text, at, values, used)
        precision = None
        if text[at : at + 1] == ".":
            precision, at, used = _count(text, at + 1, values, used)
            precision = precision or 0
        verb = text[at : at + 1]
        at += 1
        if not verb:
            made.append("%!(NOVERB)")
        elif verb == "%":
            made.append("%")
        elif used >= len(values):
            made.append(f"%!{verb}(MISSING)")
        else:
            made.append(_one(verb, values[used], flags, width, precision))
            used += 1
    if used < len(values):
        made.append("%!(EXTRA " + ", ".join(f"{_type(value)}={plain(value)}" for value in values[used:]) + ")")
    return "".join(made)


def _count(text: str, at: int, values: tuple[Any, ...], used: int) -> tuple[int | None, int, int]:
    """A width or precision: digits, or * for the next value."""
    if text[at : at + 1] == "*":
        value = values[used] if used < len(values) else None
        return (value if isinstance(value, int) else None), at + 1, used + 1
    end = at
    while end < len(text) and text[end].isdigit():
        end += 1
    return (min(int(text[at:end]), 10000) if end > at else None), end, used


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "<nil>" if value is None else type(value).__name__)


def _one(verb: str, value: Any, flags: str, width: int | None, precision: int | None) -> str:
    if isinstance(value, list | tuple) and verb not in "vT":
        return "[" + " ".join(_one(verb, item, flags, width, precision) for item in value) + "]"
    body = _body(verb, value, flags, precision)
    if body is None:
        return f"%!{verb}({_type(value)}={plain(value)})" if value is not None else f"%!{verb}(<nil>)"
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and verb not in "vscqUT"
    if numeric and "+" in flags and not body.startswith("-"):
        body = "+" + body
    elif numeric and " " in flags and not body.startswith("-"):
        body = " " + body
    if width is None or len(body) >= width:
        return body
    if "-" in flags:
        return body.ljust(width)
    if "0" in flags and (numeric or verb == "v") and not isinstance(value, str):
        sign = body[:1] if body[:1] in "+- " else ""
        return sign + body[len(sign) :].rjust(width - len(sign), "0")
    return body.rjust(width)


def _body(verb: str, value: Any, flags: str, precision: int | None) -> str | None:
    if verb == "v":
        return _quoted(value) if "#" in flags and isinstance(value, str) else plain(value)
    if verb == "T":
        return _type(value)
    if isinstance(value, bool):
        return plain(value) if verb == "t" else None
    if isinstance(value, str):
        return _of_string(verb, value, precision)
    if isinstance(value, int):
        return _of_integer(verb, value, flags)
    if isinstance(value, float):
        return _of_float(verb, value, precision)
    return None


def _of_string(verb: str, value: str, precision: int | None) -> str | None:
    cut = value if precision is None else value[:precision]
    if verb == "s":
        return cut
    if verb == "q":
        return _quoted(cut)
    if verb in "xX":
        text = cut.encode("utf-8", "surrogateescape").hex()
        return text if verb == "x" else text.upper()
    return None


def _of_integer(verb: str, value: int, flags: str) -> str | None:
    if verb == "d":
        return str(value)
    if verb in "xXob":
        digits = format(abs(value), verb)
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}[verb] if "#" in flags else ""
        return ("-" if value < 0 else "") + prefix + digits
    if verb == "c":
        return chr(value) if 0 <= value < 0x110000 else "\ufffd"
    if verb == "q":
        return f"'{chr(value)}'" if 0 <= value < 0x110000 else "'\ufffd'"
    if verb == "U":
        return f"U+{value:04X}"
    return None


def _of_float(verb: str, value: float, precision: int | None) -> str | None:
    if verb in "fF":
        return f"{value:.{6 if precision is None else precision}f}"
    if verb in "eE":
        return f"{value:.{6 if precision is None else precision}{verb}}"
    if verb in "gG":
        return show_float(value) if precision is None else f"{value:.{precision}{verb}}"
    return None


def _quoted(text: str) -> str:
    """A string in double quotes with Go's escapes, which are JSON's but for those of control characters."""
    quoted = dumps(text)
    for code in range(32):
        name = {7: "\\a", 8: "\\b", 11: "\\v"}.get(code, f"\\x{code:02x}")
        quoted = quoted.replace(f"\\u{code:04x}", name)
    return quoted.replace("\x7f", "\\x7f")
