"""WWW-Authenticate headers (RFC 9110, 11.6.1): what a registry wants to see."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Challenge:
    """`scheme` in lower case ("basic", "bearer"), `parameters` with lower-case names."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of a header, in its order. What is malformed ends the reading; what came before counts."""
    found: list[Challenge] = []
    rest = header.strip(" \t,")
    while rest:
        word, rest = _token(rest)
        if not word:
            break
        rest = rest.lstrip(" \t")
        if rest.startswith("=") and found:
            value, rest = _value(rest[1:].lstrip(" \t"))
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower()))
        rest = rest.lstrip(" \t,")
    return found


def _token(text: str) -> tuple[str, str]:
    end = 0
    while end < len(text) and text[end] not in ' \t,="':
        end += 1
    return text[:end], text[end:]


def _value(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        return _token_68(text)
    value = []
    position = 1
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 1
        value.append(text[position : position + 1])
        position += 1
    return "".join(value), text[position + 1 :]


def _token_68(text: str) -> tuple[str, str]:
    end = 0
    while end < len(text) and text[end] not in " \t,":
        end += 1
    return text[:end], text[end:]
