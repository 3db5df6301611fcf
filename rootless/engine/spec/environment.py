"""The environment that the user asks for: --env and --env-file as NAME=VALUE lines, what becomes of the image's own."""

from __future__ import annotations

import os

from rootless.errors import NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.request import CreateRequest

_LARGEST_FILE = 16 << 20


def resolve(given: list[str], files: list[str]) -> list[str]:
    """The lines of the files, then the given ones. NAME alone takes its value from our environment, or falls out; NAME*
    takes all variables that begin so. Raises UsageError, NotFoundError."""
    lines: list[str] = []
    for path in files:
        lines += _expand(_read(path), f"--env-file {path}")
    return lines + _expand(given, "--env")


def _expand(given: list[str], where: str) -> list[str]:
    lines = []
    for text in given:
        name, equals, _ = text.partition("=")
        if not name:
            raise UsageError(f"{where} {text!r}: no name before the =")
        if "\0" in text:
            raise UsageError(f"{where} {name[:40]!r}: a NUL character cannot be part of it")
        if equals:
            lines.append(text)
        elif name.endswith("*"):
            lines += [f"{key}={value}" for key, value in os.environ.items() if key.startswith(name[:-1])]
        elif name in os.environ:
            lines.append(f"{name}={os.environ[name]}")
    return lines


def _read(path: str, option: str = "--env-file") -> list[str]:
    from rootless.kernel.fifos import open_to_read

    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=open_to_read) as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise NotFoundError(f"{option} {path}: {error.strerror}") from None
    if len(content) > _LARGEST_FILE:
        raise UsageError(f"{option} {path}: it has more than {_LARGEST_FILE} characters")
    lines = [line.lstrip() for line in content.split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def shape(request: CreateRequest, values: dict[str, str]) -> None:
    """Change the environment that engine and image give: --env-merge, --unsetenv, --unsetenv-all, --env-host.

    Raises UsageError.
    """
    for text in request.env_merge:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--env-merge {text!r}: not NAME=VALUE", "write it like PATH=${PATH}:/opt/bin")
        values[name] = expand(value, values, f"--env-merge {text}")
    for name in request.unsetenv:
        values.pop(name, None)
    if request.unsetenv_all:
        values.clear()
    if request.env_host:
        values.update(os.environ)


def expand(text: str, values: dict[str, str], where: str) -> str:
    """Put values in for $NAME, ${NAME}, ${NAME:-else} and ${NAME:+then}; a backslash takes what follows as it is.

    Raises UsageError.
    """
    parts = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\" and at < len(text):
            parts.append(text[at])
            at += 1
        elif character != "$":
            parts.append(character)
        elif text[at : at + 1] == "{":
            end = text.find("}", at)
            if end < 0:
                raise UsageError(f"{where}: a brace is not closed")
            parts.append(_substitute(text[at + 1 : end], values, where))
            at = end + 1
        else:
            end = at
            while end < len(text) and (text[end] == "_" or text[end].isalnum()):
                end += 1
            parts.append(values.get(text[at:end], "") if end > at else "$")
            at = end
    return "".join(parts)


def _substitute(inner: str, values: dict[str, str], where: str) -> str:
    name, colon, rest = inner.partition(":")
    value = values.get(name, "")
    if not colon:
        return value
    if rest[:1] == "-":
        return value or rest[1:]
    if rest[:1] == "+":
        return rest[1:] if value else ""
    raise UsageError(f"{where}: ${{{inner}}} is not understood", "known: ${NAME}, ${NAME:-else}, ${NAME:+then}")


def labels_of(files: list[str]) -> list[str]:
    """The lines KEY=VALUE of --label-file. Raises UsageError, NotFoundError."""
    return [line for path in files for line in _read(path, "--label-file")]
