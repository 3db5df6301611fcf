"""Builds the tree of a template from its tokens."""

from __future__ import annotations

from rootless.cli.template.lexer import CHAIN, CONSTANT, FIELD, MARK, NAME, VARIABLE, Token, pieces
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OPENING = ("if", "range", "with")


class Pipe:
    """`names`: variables that are set to the result; `declares`: by := and not =. `commands`: lists of operands."""

    __slots__ = ("commands", "declares", "names")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.declares = False
        self.commands: list[list[tuple[str, Any]]] = []


class Block:
    """if, range or with: a pipe, what it encloses, and what else is to be done."""

    __slots__ = ("body", "kind", "other", "pipe")

    def __init__(self, kind: str, pipe: Pipe) -> None:
        self.kind = kind
        self.pipe = pipe
        self.body: list[Any] = []
        self.other: list[Any] = []


class Jump:
    """{{break}} or {{continue}}."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


def parse(text: str, functions: frozenset[str]) -> list[Any]:
    """The nodes (str, Pipe, Block, Jump) of `text`. Raises UsageError; `functions` are the names that may be called."""
    top: list[Any] = []
    into = top
    stack: list[tuple[Block, list[Any]]] = []  # what is open, and where it goes on after its end
    for piece in pieces(text):
        if isinstance(piece, str):
            if piece:
                into.append(piece)
            continue
        word = piece[0][1] if piece and piece[0][0] == NAME else None
        if word in _OPENING:
            block = Block(str(word), _pipe(piece[1:], functions, str(word)))
            into.append(block)
            stack.append((block, into))
            into = block.body
        elif word in ("else", "end"):
            if not stack:
                raise UsageError(f"template: {{{{{word}}}}} without an if, range or with before it")
            block, outer = stack.pop()
            if word == "end":
                if len(piece) > 1:
                    raise UsageError("template: {{end}} takes nothing")
                into = outer
            elif len(piece) == 1:
                if into is block.other:
                    raise UsageError("template: a second {{else}}")
                stack.append((block, outer))
                into = block.other
            else:
                inner = Block(str(piece[1][1]), _pipe(piece[2:], functions, str(piece[1][1])))
                if inner.kind not in ("if", "with"):
                    raise UsageError("template: after else comes if, with or nothing")
                block.other.append(inner)
                stack.append((inner, outer))
                into = inner.body
        elif word in ("break", "continue"):
            if len(piece) > 1 or not any(block.kind == "range" for block, _ in stack):
                raise UsageError(f"template: {{{{{word}}}}} outside of a range")
            into.append(Jump(str(word)))
        elif word in ("define", "template", "block"):
            raise UsageError(f"template: {{{{{word}}}}} is not supported in a format")
        else:
            into.append(_pipe(piece, functions, "an action"))
    if stack:
        raise UsageError(f"template: {{{{{stack[-1][0].kind}}}}} without its {{{{end}}}}")
    return top


def _pipe(tokens: list[Token], functions: frozenset[str], what: str) -> Pipe:
    reader = _Reader(tokens, functions)
    pipe = reader.pipe(what)
    if reader.at != len(tokens):
        raise UsageError(f"template: unexpected {tokens[reader.at][1]!r}")
    if len(pipe.names) > 1 and what != "range":
        raise UsageError("template: only range sets two variables")
    return pipe


class _Reader:
    def __init__(self, tokens: list[Token], functions: frozenset[str]) -> None:
        self.tokens = tokens
        self.functions = functions
        self.at = 0

    def peek(self, ahead: int = 0) -> Token:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ("", None)

    def pipe(self, what: str) -> Pipe:
        pipe = Pipe()
        self.variables(pipe)
        while True:
            command = self.command()
            if not command:
                raise UsageError(f"template: a value is missing in {what}")
            if pipe.commands and command[0][0] in ("constant", "nil"):
                raise UsageError("template: a constant cannot be what a value is piped into")
            pipe.commands.append(command)
            if self.peek() != (MARK, "|"):
                return pipe
            self.at += 1

    def variables(self, pipe: Pipe) -> None:
        """`$x :=`, `$x =` or `$i, $x :=`, if the pipe begins so."""
        names: list[str] = []
        ahead = 0
        while self.peek(ahead)[0] == VARIABLE:
            names.append(self.peek(ahead)[1][0])  # type: ignore[index]
            ahead += 1
            if self.peek(ahead) != (MARK, ","):
                break
            ahead += 1
        mark = self.peek(ahead)
        if names and mark in ((MARK, ":="), (MARK, "=")):
            pipe.names = names
            pipe.declares = mark[1] == ":="
            self.at += ahead + 1

    def command(self) -> list[tuple[str, Any]]:
        operands: list[tuple[str, Any]] = []
        while True:
            kind, value = self.peek()
            if kind in (FIELD, VARIABLE, CONSTANT):
                operands.append((kind, value))
            elif kind == NAME:
                operands.append(self.name(str(value)))
            elif (kind, value) == (MARK, "("):
                operands.append(self.parenthesis())
            else:
                return operands
            self.at += 1

    def name(self, name: str) -> tuple[str, Any]:
        if name == "nil":
            return "nil", None
        if name in self.functions:
            return "function", name
        from difflib import get_close_matches

        close = get_close_matches(name, sorted(self.functions), n=1)
        raise UsageError(
            f"template: there is no function {name!r}",
            f"did you mean {close[0]}?" if close else f"a field is written .{name}",
        )

    def parenthesis(self) -> tuple[str, Any]:
        self.at += 1
        inner = self.pipe("parentheses")
        if self.peek() != (MARK, ")"):
            raise UsageError("template: an opening parenthesis without its closing one")
        names: Any = ()
        if self.peek(1)[0] == CHAIN:
            self.at += 1
            names = self.peek()[1]
        return "pipe", (inner, names)
