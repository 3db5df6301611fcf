"""Reads a command line from the option tables, for the start that cannot wait for typer (50 ms).

It knows the rules of Docker's and Podman's flags (pflag) and nothing of help and errors: whatever it does not
understand it leaves to typer, which reads the same tables, and explains.
"""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, CSV, INT, LIST, MAYBE, ONE, UINT, Opts, boolean, finish, integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.cli.options import Argument, Command, Option


class _Unclear(Exception):
    """The line is wrong, or asks for help."""


def parse(command: Command, words: list[str]) -> Opts | None:
    """The values of `words`, the line after the command's name; None where typer has to explain or to help."""
    try:
        raw, places = _options(command, words)
        _arguments(command.arguments, places, raw)
    except (_Unclear, ValueError):
        return None
    return finish(command, raw)


def _options(command: Command, words: list[str]) -> tuple[dict[str, Any], list[str]]:
    known = {name: option for option in command.options for name in option.names}
    raw: dict[str, Any] = {}
    places: list[str] = []
    at = 0
    count = len(words)
    while at < count:
        word = words[at]
        at += 1
        if word[:1] != "-" or word == "-":
            places.append(word)
            if command.stops:
                break
        elif word == "--":
            break
        elif word[1] == "-":
            name, equals, value = word.partition("=")
            option = known.get(name)
            if option is None:
                raise _Unclear
            if equals:
                _store(raw, option, value)
            elif option.kind == BOOL:
                raw[option.dest] = True
            elif at < count:
                _store(raw, option, words[at])
                at += 1
            else:
                raise _Unclear
        else:
            at = _cluster(known, raw, words, at)
    places.extend(words[at:])
    return raw, places


def _cluster(known: dict[str, Option], raw: dict[str, Any], words: list[str], at: int) -> int:
    """One word of short options (-it, -p8080:80, -e=A=b), which is words[at - 1]; returns where to go on."""
    word = words[at - 1]
    for place in range(1, len(word)):
        option = known.get("-" + word[place])
        if option is None:
            raise _Unclear
        rest = word[place + 1 :]
        if option.kind == BOOL:
            if rest[:1] == "=":
                _store(raw, option, rest[1:])
                return at
            raw[option.dest] = True
        elif rest:
            _store(raw, option, rest[1:] if rest[0] == "=" else rest)
            return at
        elif at < len(words):
            _store(raw, option, words[at])
            return at + 1
        else:
            raise _Unclear
    return at


def _store(raw: dict[str, Any], option: Option, text: str) -> None:
    kind = option.kind
    if kind in (LIST, CSV):
        raw.setdefault(option.dest, []).append(text)
    elif kind == BOOL:
        raw[option.dest] = boolean(text)
    elif kind in (INT, UINT):
        raw[option.dest] = integer(text, kind)
    elif kind == CHOICE and text not in option.choices:
        raise _Unclear
    else:
        raw[option.dest] = text


def _arguments(wanted: tuple[Argument, ...], places: list[str], raw: dict[str, Any]) -> None:
    at = 0
    for argument in wanted:
        if argument.count == ONE or argument.count == MAYBE:
            if at < len(places):
                raw[argument.dest] = places[at]
                at += 1
            elif argument.count == ONE:
                raise _Unclear
        else:
            raw[argument.dest] = places[at:]
            if at == len(places) and argument.count != ANY:
                raise _Unclear
            at = len(places)
    if at != len(places):
        raise _Unclear
