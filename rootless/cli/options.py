"""Options, arguments and commands as data, and the values that come of them.

Both readers of a command line, the small parser (`rootless.cli.parser`) and typer (`rootless.cli.typerapp`), are driven
by these tables and end in `finish`, so a command never knows which of the two has read its line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BOOL = "bool"  # --rm, --rm=false
STR = "str"
INT = "int"
UINT = "uint"  # an int that is not negative
LIST = "list"  # may be repeated
CSV = "csv"  # may be repeated, and each value may be several with commas between
CHOICE = "choice"  # one of `choices`

ONE = "1"
MAYBE = "?"
ANY = "*"
SOME = "+"


class Option:
    """One option. `names` are "--long -s"; the attribute that it fills is the first name with dashes as underscores.

    `default`, where none is given: False for BOOL, an empty list for LIST and CSV, None for the rest.
    """

    __slots__ = ("choices", "default", "dest", "help", "kind", "metavar", "names")

    def __init__(
        self,
        names: str,
        kind: str,
        help: str,
        default: Any = ...,
        metavar: str | None = None,
        choices: tuple[str, ...] = (),
        dest: str | None = None,
    ) -> None:
        self.names = names.split()
        self.kind = kind
        self.help = help
        self.default = (False if kind == BOOL else None) if default is ... else default
        self.metavar = metavar
        self.choices = choices
        self.dest = dest or self.names[0][2:].replace("-", "_")


class Argument:
    """A positional argument. `count` is ONE, MAYBE, ANY or SOME (the last two make a list and come last).

    `completes` says what a shell offers: "container", "running", "image", "file", or nothing.
    """

    __slots__ = ("completes", "count", "dest", "metavar")

    def __init__(self, dest: str, count: str = ONE, metavar: str | None = None, completes: str = "") -> None:
        self.dest = dest
        self.count = count
        self.metavar = metavar or dest.upper()
        self.completes = completes


class Command:
    """A verb: `rootless.cli.commands.<module>.command(settings, opts)` does it.

    `stops`: options end at the first argument, as what follows belongs to the container. `fixed`: values that this
    spelling of a command sets and no option does. `examples` are shown at the end of its help.
    """

    __slots__ = ("arguments", "examples", "fixed", "help", "module", "name", "options", "stops")

    def __init__(
        self,
        name: str,
        help: str,
        options: tuple[Option, ...] = (),
        arguments: tuple[Argument, ...] = (),
        module: str | None = None,
        stops: bool = False,
        fixed: dict[str, Any] | None = None,
        examples: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.help = help
        self.options = options
        self.arguments = arguments
        self.module = module or name
        self.stops = stops
        self.fixed = fixed
        self.examples = examples


class Opts:
    """The values of one command line, an attribute for each option and argument of its command."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


_TRUE = ("true", "1", "t", "T", "TRUE", "True")
_FALSE = ("false", "0", "f", "F", "FALSE", "False")


def boolean(text: str) -> bool:
    """The value of `--flag=text`, in the spellings that Go's flags know. Raises ValueError for others."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def integer(text: str, kind: str = INT) -> int:
    """A decimal number. Raises ValueError."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise ValueError(f"{text!r} is not a whole number")
    value = int(text)
    if kind == UINT and value < 0:
        raise ValueError(f"{text!r} is negative")
    return value


def finish(command: Command, raw: dict[str, Any]) -> Opts:
    """The values of `raw` (attribute -> value as read, only what was given) with the defaults of all that was not."""
    values = dict(command.fixed) if command.fixed else {}
    for option in command.options:
        dest = option.dest
        value = raw.get(dest)
        kind = option.kind
        if value is None:
            value = [] if kind in (LIST, CSV) else option.default
        elif kind == CSV:
            value = [part for text in value for part in text.split(",")]
        elif dest == "format" and value == "table":
            value = None  # the table that is printed anyway
        values[dest] = value
    for argument in command.arguments:
        value = raw.get(argument.dest)
        values[argument.dest] = [] if value is None and argument.count in "*+" else value
    return Opts(values)
