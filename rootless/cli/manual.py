"""docs/commands.md: the help of every command, as one document (`python -m rootless.cli.manual > docs/commands.md`)."""

from __future__ import annotations

from rootless.cli.options import BOOL, Command, Option
from rootless.cli.tables import GLOBAL, NOUNS, SECOND_NAMES, VERBS, command_named


def manual() -> str:
    """The whole document, in Markdown."""
    parts = [
        "# Commands\n",
        "Made from the option tables in `rootless/cli/tables`: `python -m rootless.cli.manual`. A test keeps it so.\n",
        "Options of `run`, `create` and `exec` end where the image or the container is named: the rest is its command.",
        "Short switches may be written together (`-it`), values behind their option (`-p8080:80`, `--name=x`),",
        "and a switch is taken back with `--rm=false`. The exit code of a wrong line is 125.\n",
        "## Before the verb\n",
        *map(_option, GLOBAL.options),
        "",
    ]
    nouns = [verb for verbs in NOUNS.values() for verb in verbs.values() if " " in verb]
    for name in sorted({*VERBS, *nouns}):
        parts += _command(command_named(name))
    return "\n".join(parts)


def _command(row: Command) -> list[str]:
    arguments = [argument.metavar if argument.count in "1+" else f"[{argument.metavar}]" for argument in row.arguments]
    usage = " ".join(["rootless", row.name, *(["[OPTIONS]"] if row.options else []), *arguments])
    also = [spelling for spelling, verb in SECOND_NAMES.items() if verb == row.name]
    also += [f"{noun} {verb}" for noun, verbs in NOUNS.items() for verb, name in verbs.items() if name == row.name]
    also = [f"`{spelling}`" for spelling in also if spelling != row.name]
    parts = [f"## {row.name}\n", f"    {usage}\n", row.help + (f" Also: {', '.join(also)}." if also else "") + "\n"]
    parts += map(_option, row.options)
    if row.options:
        parts.append("")
    if row.examples:
        parts += [*("    " + example for example in row.examples), ""]
    return parts


def _option(option: Option) -> str:
    value = "" if option.kind == BOOL else f" {option.metavar or option.kind.upper()}"
    return f"- `{', '.join(reversed(option.names))}{value}`: {option.help}"


if __name__ == "__main__":
    print(manual(), end="")
