"""Go's view of plain values: fields, truth, and how they print."""

from __future__ import annotations

from rootless.cli.template.omitted import PARTS, GoMap, Part, omitted
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NO_VALUE = "<no value>"

# In Go these are maps; all other objects with capital letters at the start of every name are structures.
_MAPS = ("Annotations", "Labels", "Networks", "Options", "Ports", "PortBindings", "Sysctls", "Volumes")


class Structure(dict):  # type: ignore[type-arg]
    """A structure, whatever its keys look like. `as_json` makes what its JSON is where that is something else."""

    __slots__ = ("as_json",)

    if TYPE_CHECKING:
        as_json: Callable[[], Any] | None

    def __init__(self, fields: dict[str, Any], as_json: Callable[[], Any] | None = None) -> None:
        super().__init__(fields)
        self.as_json = as_json


def is_structure(value: Any) -> bool:
    if isinstance(value, Structure):
        return True
    return isinstance(value, dict) and not isinstance(value, GoMap) and bool(value) and all(map(_exported, value))


def _exported(name: object) -> bool:
    return isinstance(name, str) and name[:1].isupper()


def field(value: Any, name: str) -> Any:
    """`value.name`. A key that a map does not have is None; a field that a structure does not have is a UsageError.

    Names are compared without regard to case where there is no exact one: what Go calls ID is Id in JSON.
    """
    if isinstance(value, dict):
        try:
            found = value[name]
        except KeyError:
            found = _other_spelling(value, name)
        return found if found is not None and type(found) is not dict else _in_place(value, name, found)
    if value is None:
        raise UsageError(f"template: .{name} of something that is empty")
    raise UsageError(f"template: .{name}: a {kind_of(value)} has no fields")


def _in_place(value: dict[str, Any], name: str, found: dict[str, Any] | None) -> Any:
    """What `value.name` is to Go: a map, a structure, or a field that is empty."""
    if isinstance(value, GoMap):
        return found
    if found is None:
        return omitted(value).get(name)
    return GoMap(found) if name in _MAPS else Part(found, name) if name in PARTS else found


def _other_spelling(value: dict[str, Any], name: str) -> Any:
    if isinstance(value, GoMap):
        return None
    lower = name.lower()
    for key in value:
        if key.lower() == lower:
            return value[key]
    if name in omitted(value) or not is_structure(value):
        return None
    from difflib import get_close_matches

    close = get_close_matches(name, list(value), n=1) or sorted(value)
    listed = ", ".join("." + key for key in close)
    hint = f"did you mean {listed}?" if len(close) == 1 else f"there are {listed}"
    raise UsageError(f"template: there is no field .{name}", hint)


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list | tuple):
        return "list"
    return "map" if isinstance(value, dict) else "nothing" if value is None else "function"


def truth(value: Any) -> bool:
    """Go's truth: false, 0, nothing and whatever is empty are false; a structure is always true."""
    return bool(value)


def show(value: Any) -> str:
    """A value as `{{.}}` prints it."""
    if type(value) is str:
        return value
    return NO_VALUE if value is None else plain(value)


def plain(value: Any) -> str:
    """A value as Go's %v prints it: [a b], map[a:1 b:2], {1 2} for a structure."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, float):
        return show_float(value)
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(plain, value)) + "]"
    if isinstance(value, dict):
        if is_structure(value):
            shown = [(key, item) for key, item in value.items() if not callable(item)]
            items = [GoMap(item) if key in _MAPS and type(item) is dict else item for key, item in shown]
            return "{" + " ".join(map(plain, items)) + "}"
        return "map[" + " ".join(f"{key}:{plain(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


def show_float(value: float) -> str:
    """Go's %v of a float64: the shortest digits, with an exponent from 1e21 on and below 1e-4."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-4 <= abs(value) < 1e21:
        if value == int(value):
            return ("-" if str(value)[0] == "-" else "") + str(abs(int(value)))
        text = repr(value)
        return f"{value:.20f}".rstrip("0") if "e" in text else text
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        mantissa, _, exponent = f"{value:e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent):+03d}"
