"""Turns typer's complaints into ours: what is wrong in one line, and what was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from typer._click import exceptions
from typer.exceptions import TyperException

from rootless.cli.tables import GLOBAL, NOUNS, VERBS
from rootless.errors import UsageError

WRONG = TyperException


def explain(error: TyperException) -> UsageError:
    """The error that the user sees for a line that typer refused."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "rootless"
    name = path.partition(" ")[2]
    prefix = f"{name}: " if name else ""
    if isinstance(error, exceptions.NoSuchOption):
        return _unknown_option(prefix, name, error.option_name, context)
    if isinstance(error, exceptions.MissingParameter):
        missing = error.param.human_readable_name if error.param is not None else "an argument"
        if missing.startswith("[") and missing.endswith("]"):
            missing = missing[1:-1]
        return UsageError(f"{prefix}{missing} is missing", _see(path, context))
    if isinstance(error, exceptions.BadOptionUsage):
        return UsageError(f"{prefix}{error.option_name} needs a value", f"see: {path} --help")
    if isinstance(error, exceptions.BadParameter):
        what = error.param_hint or _long_name(error.param)
        return UsageError(f"{prefix}{what}: {error.message}", f"see: {path} --help")
    if isinstance(error, exceptions.NoArgsIsHelpError):
        return UsageError(f"{prefix}which command?", f"see: {path} --help")
    message = error.message[:1].lower() + error.message[1:].rstrip(".")
    return UsageError(f"{prefix}{message}", _see(path, context))


def _long_name(param: Any) -> str:
    if param is None:
        return "a value"
    names: list[str] = param.opts
    return next((name for name in names if name.startswith("--")), names[0])


def _see(path: str, context: Any) -> str:
    if context is None:
        return f"see: {path} --help"
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"usage: {path} {pieces}"


def _unknown_option(prefix: str, name: str, option: str, context: Any) -> UsageError:
    from rootless.cli.tables.podman import instead, knows

    path = f"rootless {name}".strip()
    if name and any(option in known.names for known in GLOBAL.options if known.dest != "version"):
        return UsageError(f"{prefix}{option} stands before the command", f"rootless {option} ... {name}")
    if knows(name, option):
        return UsageError(f"{prefix}{option} is not supported yet", instead(option))
    names = [flag for param in context.command.get_params(context) for flag in param.opts if flag.startswith("--")]
    # Compared without their dashes, which would make strangers alike; the first letter is seldom mistyped.
    alike = [name[2:] for name in names if name[:3] == option[:3]]
    close = get_close_matches(option[2:], alike, n=1, cutoff=0.65)
    hint = instead(option) or (f"did you mean --{close[0]}?" if close else f"see: {path} --help")
    return UsageError(f"{prefix}unknown flag {option}", hint)


def unknown_command(noun: str, word: str, after: str = "") -> UsageError:
    """For a verb that is not there. `noun`: the group it was looked for in, or empty. `after`: the next word."""
    from rootless.cli.tables.podman import instead, knows_command

    name = f"{noun} {word}".strip()
    if after and knows_command(f"{name} {after}"):
        name = f"{name} {after}"
    if knows_command(name):
        return UsageError(f"{name}: this command is not supported yet", instead(name))
    close = get_close_matches(word, [*NOUNS[noun]] if noun else [*VERBS, *NOUNS], n=2, cutoff=0.65)
    meant = " or ".join(f"{noun} {name}".strip() for name in close)
    hint = f"did you mean {meant}?" if meant else f"see: {f'rootless {noun}'.strip()} --help"
    return UsageError(f"unknown command {name!r}", hint)
