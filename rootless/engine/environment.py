"""`--env` and `--env-file` as NAME=VALUE lines."""

from __future__ import annotations

import os

from rootless.errors import NotFoundError, UsageError

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
        if equals:
            lines.append(text)
        elif name.endswith("*"):
            lines += [f"{key}={value}" for key, value in os.environ.items() if key.startswith(name[:-1])]
        elif name in os.environ:
            lines.append(f"{name}={os.environ[name]}")
    return lines


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise NotFoundError(f"--env-file {path}: {error.strerror}") from None
    if len(content) > _LARGEST_FILE:
        raise UsageError(f"--env-file {path}: it has more than {_LARGEST_FILE} characters")
    lines = [line.lstrip() for line in content.split("\n")]
    return [line for line in lines if line and not line.startswith("#")]
