"""JSON without the import cost of the `json` package, which drags in `re` and `enum` (8 ms on a slow machine).

The scanner and the encoder are the C halves of that package; where an interpreter lacks them, the package itself
serves.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_json: Any = None
try:
    import _json
except ImportError:  # another implementation of Python
    pass


class _Scanner:
    """What `_json.make_scanner` wants to know, as `json.JSONDecoder` would tell it."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012  the C code reads the attribute of the instance it is given

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parse one JSON document (RFC 8259, UTF-8). Raises ValueError for anything else, also for NaN and Infinity."""
    if isinstance(text, bytes | bytearray):
        text = bytes(text).decode("utf-8")
    if _json is None:
        import json

        return json.loads(text, parse_constant=_Scanner.parse_constant)
    stripped = text.strip(" \t\n\r")
    try:
        value, end = _json.make_scanner(_Scanner())(stripped, 0)
    except (StopIteration, SystemError):  # the C code finds its own error class only where `json` is imported already
        import json

        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if end != len(stripped):
        raise ValueError(f"text after the JSON document at character {end}")
    return value


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is not JSON")


def dumps(value: Any) -> str:
    """Compact JSON text of plain values (dict with str keys, list, tuple, str, int, float, bool, None)."""
    if _json is None:
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    encoder = _json.make_encoder(None, _refuse, _json.encode_basestring, None, ":", ",", False, False, True)
    return "".join(encoder(value, 0))
