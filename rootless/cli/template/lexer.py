"""Splits a template into text and actions, and an action into tokens."""

from __future__ import annotations

from rootless.errors import UsageError

# Kinds of tokens. FIELD carries the names of a chain (.A.B), VARIABLE its name with the chain behind it ("$x", ("A",)),
# CHAIN the names directly behind a closing parenthesis.
FIELD, VARIABLE, CHAIN, NAME, CONSTANT, MARK = "field", "variable", "chain", "name", "constant", "mark"

Token = tuple[str, object]

_SIMPLE_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_BLANK = " \t\r\n"


def pieces(text: str) -> list[str | list[Token]]:
    """Text (str) and actions (tokens) in turn; comments are left out, trim markers are done."""
    found: list[str | list[Token]] = []
    at = 0
    trim = False
    while True:
        start = text.find("{{", at)
        before = text[at:] if start < 0 else text[at:start]
        if trim:
            before = before.lstrip(_BLANK)
        if start < 0:
            found.append(before)
            return found
        at = start + 2
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] in _BLANK and at + 1 < len(text):
            before = before.rstrip(_BLANK)
            at += 1
        found.append(before)
        tokens, at, trim = _action(text, at)
        if tokens is not None:
            found.append(tokens)


def _action(text: str, at: int) -> tuple[list[Token] | None, int, bool]:
    """Tokens of the action that starts at `at` (None: a comment), where it ends, and whether to trim what follows."""
    inside = at
    while text[inside : inside + 1] and text[inside] in _BLANK:
        inside += 1
    if text.startswith("/*", inside):
        end = text.find("*/", inside)
        after = text[end + 2 :] if end >= 0 else ""
        if after.startswith(" -}}"):
            return None, end + 6, True
        if not after.startswith("}}"):
            raise UsageError("template: a comment that does not end")
        return None, end + 4, False
    tokens: list[Token] = []
    while True:
        blank = False
        while at < len(text) and text[at] in _BLANK:
            at += 1
            blank = True
        if at >= len(text):
            raise UsageError("template: an action without its }}")
        if text.startswith("}}", at):
            return tokens, at + 2, False
        if blank and text.startswith("-}}", at):
            return tokens, at + 3, True
        token, at = _token(text, at, chained=not blank and bool(tokens) and tokens[-1] == (MARK, ")"))
        tokens.append(token)


def _token(text: str, at: int, chained: bool) -> tuple[Token, int]:
    letter = text[at]
    following = text[at + 1 : at + 2]
    if letter == "." and not following.isdigit():
        names, end = _names(text, at)
        return (CHAIN if chained else FIELD, names), end
    if letter == "$":
        end = _word(text, at + 1)
        names, after = _names(text, end) if text[end : end + 1] == "." else ((), end)
        return (VARIABLE, (text[at:end], names)), after
    if letter in "\"`'":
        return _string(text, at, letter)
    if letter.isdigit() or (letter in "+-." and (following.isdigit() or following == ".")):
        return _number(text, at)
    if letter == "_" or letter.isalpha():
        end = _word(text, at)
        word = text[at:end]
        if word in ("true", "false"):
            return (CONSTANT, word == "true"), end
        return (NAME, word), end
    if text.startswith(":=", at):
        return (MARK, ":="), at + 2
    if letter in "|()=,":
        return (MARK, letter), at + 1
    raise UsageError(f"template: unexpected {letter!r} in an action")


def _word(text: str, at: int) -> int:
    while at < len(text) and (text[at] == "_" or text[at].isalnum()):
        at += 1
    return at


def _names(text: str, at: int) -> tuple[tuple[str, ...], int]:
    """The names of .A.B from the dot at `at`; no names for a dot alone."""
    names: list[str] = []
    while text[at : at + 1] == ".":
        end = _word(text, at + 1)
        if end == at + 1:
            if names:
                raise UsageError("template: a dot without a name behind it")
            return (), end
        names.append(text[at + 1 : end])
        at = end
    return tuple(names), at


def _number(text: str, at: int) -> tuple[Token, int]:
    end = at + 1
    while end < len(text) and (
        text[end].isalnum() or text[end] in "._" or (text[end] in "+-" and text[end - 1] in "eE")
    ):
        end += 1
    word = text[at:end]
    try:
        return (CONSTANT, int(word, 0)), end
    except ValueError:
        pass
    try:
        return (CONSTANT, float(word)), end
    except ValueError:
        raise UsageError(f"template: {word!r} is not a number") from None


def _string(text: str, at: int, quote: str) -> tuple[Token, int]:
    end = at + 1
    made: list[str] = []
    while end < len(text) and text[end] != quote:
        if text[end] == "\\" and quote != "`":
            character, end = _escape(text, end)
            made.append(character)
        else:
            made.append(text[end])
            end += 1
    if end >= len(text):
        raise UsageError("template: a string that does not end")
    value = "".join(made)
    if quote == "'":
        if len(value) != 1:
            raise UsageError(
                f"template: {text[at : end + 1]} is not one character", 'strings are written "in double quotes"'
            )
        return (CONSTANT, ord(value)), end + 1
    return (CONSTANT, value), end + 1


def _escape(text: str, at: int) -> tuple[str, int]:
    letter = text[at + 1 : at + 2]
    if letter in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[letter], at + 2
    digits = {"x": 2, "u": 4, "U": 8}.get(letter)
    try:
        if digits:
            return chr(int(text[at + 2 : at + 2 + digits], 16)), at + 2 + digits
        return chr(int(text[at + 1 : at + 4], 8)), at + 4
    except (ValueError, OverflowError):
        raise UsageError(f"template: unknown escape \\{letter} in a string") from None
