"""Executes the tree of a template over a value."""

from __future__ import annotations

from rootless.cli.template.functions import FUNCTIONS
from rootless.cli.template.syntax import Block, Jump, Pipe, parse
from rootless.cli.template.values import field, is_structure, kind_of, show, truth
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_LAZY = ("and", "or")
_NAMES = frozenset((*FUNCTIONS, *_LAZY))
_MISSING: Any = object()
_DEEPEST = 200


class _Leave(Exception):
    """Out of the loop (break), or on to its next round (continue)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Template:
    """A template that has been read. Raises UsageError for text that is none."""

    def __init__(self, text: str) -> None:
        try:
            self._nodes = parse(text, _NAMES)
        except RecursionError:
            raise UsageError("template: nested too deeply") from None

    def render(self, value: Any) -> str:
        """The text that it makes of `value`. Raises UsageError where a field or a function fails."""
        run = _Run(value)
        try:
            run.nodes(self._nodes, value)
        except RecursionError:
            raise UsageError("template: nested too deeply") from None
        return "".join(run.out)


class _Run:
    def __init__(self, value: Any) -> None:
        self.out: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", value)]

    def nodes(self, nodes: list[Any], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, str):
                self.out.append(node)
            elif isinstance(node, Pipe):
                value = self.pipe(node, dot)
                if not node.names:
                    self.out.append(show(value))
            elif isinstance(node, Jump):
                raise _Leave(node.kind)
            else:
                self.block(node, dot)

    def block(self, block: Block, dot: Any) -> None:
        outer = len(self.variables)
        try:
            if block.kind == "range":
                self.range(block, dot)
                return
            value = self.pipe(block.pipe, dot)
            if truth(value):
                self.nodes(block.body, value if block.kind == "with" else dot)
            else:
                self.nodes(block.other, dot)
        finally:
            del self.variables[outer:]

    def range(self, block: Block, dot: Any) -> None:
        names = block.pipe.names
        value = self.commands(block.pipe, dot)
        outer = len(self.variables)
        empty = True
        for key, item in _items(value):
            empty = False
            shown = {1: (item,), 2: (key, item)}.get(len(names), ())
            for name, one in zip(names, shown, strict=True):
                self.set(name, one, block.pipe.declares)
            try:
                self.nodes(block.body, item)
            except _Leave as leave:
                if leave.kind == "break":
                    return
            finally:
                del self.variables[outer:]
        if empty:
            self.nodes(block.other, dot)

    def set(self, name: str, value: Any, declares: bool) -> None:
        if declares:
            self.variables.append((name, value))
            return
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return
        raise UsageError(f"template: there is no variable {name}")

    def pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self.commands(pipe, dot)
        for name in pipe.names:
            self.set(name, value, pipe.declares)
        return value

    def commands(self, pipe: Pipe, dot: Any) -> Any:
        value = _MISSING
        for command in pipe.commands:
            value = self.command(command, dot, value)
        return value

    def command(self, command: list[tuple[str, Any]], dot: Any, piped: Any) -> Any:
        kind, what = command[0]
        if kind == "function" and what in _LAZY:
            return self.lazy(what, command[1:], dot, piped)
        arguments = [self.operand(operand, dot) for operand in command[1:]]
        if piped is not _MISSING:
            arguments.append(piped)
        if kind == "function":
            return _call(what, FUNCTIONS[what], arguments)
        if kind in ("field", "variable", "pipe"):
            return self.operand(command[0], dot, arguments)
        if arguments:
            raise UsageError("template: a constant takes no arguments")
        if kind == "nil":
            raise UsageError("template: nil alone is not a value")
        return what

    def lazy(self, name: str, operands: list[tuple[str, Any]], dot: Any, piped: Any) -> Any:
        """`and` and `or`: the first operand that decides, and no operand after it is looked at."""
        value: Any = _MISSING
        for operand in operands:
            value = self.operand(operand, dot)
            if truth(value) is (name == "or"):
                return value
        if piped is not _MISSING:
            value = piped
        if value is _MISSING:
            raise UsageError(f"template: {name} needs a value")
        return value

    def operand(self, operand: tuple[str, Any], dot: Any, arguments: list[Any] | None = None) -> Any:
        kind, what = operand
        if kind == "field":
            return _walk(dot, what, arguments)
        if kind == "variable":
            return _walk(self.variable(what[0]), what[1], arguments)
        if kind == "pipe":
            return _walk(self.pipe(what[0], dot), what[1], arguments)
        if kind == "function":
            return _call(what, FUNCTIONS[what], []) if what not in _LAZY else self.lazy(what, [], dot, _MISSING)
        return what

    def variable(self, name: str) -> Any:
        for known, value in reversed(self.variables):
            if known == name:
                return value
        raise UsageError(f"template: there is no variable {name}")


def _walk(value: Any, names: tuple[str, ...], arguments: list[Any] | None) -> Any:
    for place, name in enumerate(names):
        value = field(value, name)
        if callable(value):
            value = _call("." + name, value, arguments or [] if place == len(names) - 1 else [])
            if place == len(names) - 1:
                return value
    if arguments:
        raise UsageError(f"template: {'.' + '.'.join(names)} takes no arguments: it is a {kind_of(value)}")
    return value


def _call(name: str, function: Any, arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        given = ", ".join(map(kind_of, arguments)) or "nothing"
        reason = "" if isinstance(error, TypeError | AttributeError) else f": {error}"
        raise UsageError(f"template: {name} cannot work on {given}{reason}") from None


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a range goes over, with index or key."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, dict) and not is_structure(value):
        return sorted(value.items())
    if isinstance(value, int) and not isinstance(value, bool):
        return ((number, number) for number in range(value))
    kind = "structure" if isinstance(value, dict) else kind_of(value)
    raise UsageError(f"template: cannot range over a {kind}")
