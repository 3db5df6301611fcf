"""The typer application: help, completion and the explanation of wrong lines, all made from the option tables.

Cold: typer takes 50 ms to import, so the small parser goes first (`rootless.cli.main`). A command's options are turned
into typer's only when that command is asked for. What typer lacks of Go's flags (`--rm=false`, `-e=A=b`) is added to
its parser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer._click.exceptions import UsageError
from typer._click.parser import _Option, _OptionParser, _ParsingState
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command, get_command_from_info
from typer.models import CommandInfo

from rootless.cli import completion, usage
from rootless.cli.options import ANY, BOOL, CHOICE, CSV, INT, LIST, ONE, SOME, UINT, Opts, boolean, finish, integer
from rootless.cli.options import Argument as ArgumentRow
from rootless.cli.options import Command as CommandRow
from rootless.cli.options import Option as OptionRow
from rootless.cli.settings import Settings
from rootless.cli.tables import GLOBAL, NOUNS, SECOND_NAMES, VERBS, command_named
from rootless.cli.verbs import VERSION_LINE, execute

PROGRAM = "rootless"

Act = Callable[[CommandRow, Settings, Opts], int]
_HELP = "Show this help"
_COMPLETION_HELP = {
    "install_completion": "Have this shell complete commands, options and names",
    "show_completion": "Print what --install-completion would install",
}
_NOUN_HELP = {
    "container": "Work with containers.",
    "healthcheck": "Check the health of containers.",
    "image": "Work with images.",
    "manifest": "Work on manifest lists: one name for images of several platforms.",
    "secret": "Work with secrets.",
    "system": "Look after the store: its room, its soundness.",
    "volume": "Work with volumes.",
}


def run(words: list[str], settings: Settings) -> int:
    """Do what `words` say, as typer reads them. Raises UsageError for a wrong line; completion may end the process."""
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    app = application(settings)
    try:
        code = app.main(words, prog_name=PROGRAM, standalone_mode=False)
    except usage.WRONG as error:
        raise usage.explain(error) from None
    return code if isinstance(code, int) else 0


def application(settings: Settings) -> TyperGroup:
    """The whole command as typer sees it."""
    app = typer.Typer(cls=_Root, rich_markup_mode=None, pretty_exceptions_enable=False, help=GLOBAL.help)

    def before(context: typer.Context, **values: Any) -> int | None:
        opts = finish(GLOBAL, values)
        settings.apply(opts)
        context.obj = settings
        if opts.version:
            version = command_named("version")
            return execute(version, settings, finish(version, {"format": VERSION_LINE}))
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())
        return None

    _give_signature(before, GLOBAL.options, (), with_context=True)
    app.callback(invoke_without_command=True, context_settings={"help_option_names": ["--help", "-h"]})(before)
    root = get_command(app)
    assert isinstance(root, _Root)
    for param in root.params:
        if isinstance(param, TyperOption) and param.name in _COMPLETION_HELP:
            param.help = _COMPLETION_HELP[param.name]
    return root


def single(row: CommandRow, name: str | None = None, act: Act = execute) -> TyperCommand:
    """One command as typer sees it. `act` gets what has been read."""

    def callback(context: typer.Context, **values: Any) -> int:
        return act(row, context.obj, finish(row, values))

    _give_signature(callback, row.options, row.arguments, with_context=True)
    info = CommandInfo(
        name=name or row.name,
        cls=_Command,
        callback=callback,
        help=row.help,
        epilog="\n  ".join(("\b\nExamples:", *row.examples)) if row.examples else None,
        context_settings={"help_option_names": ["--help", "-h"], "allow_interspersed_args": not row.stops},
    )
    made = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    assert isinstance(made, TyperCommand)
    return made


class _GoFlags(_OptionParser):
    """Adds `--flag=false` and `-f=false` for switches, and `-x=value` without the equals sign in the value."""

    def parse_args(self, args: list[str]) -> Any:
        try:
            return super().parse_args(args)
        except UsageError as error:
            error.ctx = error.ctx or self.ctx
            raise

    def _match_long_opt(self, opt: str, explicit_value: str | None, state: _ParsingState) -> None:
        option = self._long_opt.get(opt)
        if option is None or option.takes_value or explicit_value is None:
            super()._match_long_opt(opt, explicit_value, state)
        else:
            self._set_switch(opt, option, explicit_value, state)

    def _match_short_opt(self, arg: str, state: _ParsingState) -> None:
        for place in range(1, len(arg)):
            option = self._short_opt.get("-" + arg[place])
            if option is None:
                break
            if option.takes_value or arg[place + 1 : place + 2] == "=":
                if arg[place + 1 : place + 2] != "=":
                    break
                before, value = arg[:place], arg[place + 2 :]
                if len(before) > 1:
                    super()._match_short_opt(before, state)
                if option.takes_value:
                    self._check(option, value)
                    option.process(value, state)
                else:
                    self._set_switch("-" + arg[place], option, value, state)
                return
        super()._match_short_opt(arg, state)

    def _get_value_from_state(self, option_name: str, option: _Option, state: _ParsingState) -> str | Sequence[str]:
        value = super()._get_value_from_state(option_name, option, state)
        self._check(option, value)
        return value

    def _check(self, option: _Option, value: object) -> None:
        """Refuse a wrong value at once, as Go's flags do, also one that a later one would replace."""
        if option.action != "store":
            return
        try:
            option.obj.type.convert(value, option.obj, self.ctx)
        except typer.BadParameter as error:
            error.param = option.obj
            raise

    def _set_switch(self, name: str, option: _Option, text: str, state: _ParsingState) -> None:
        try:
            value = boolean(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=self.ctx, param_hint=name) from None
        state.opts[option.dest or ""] = value
        state.order.append(option.obj)


class _Command(TyperCommand):
    def get_help_option(self, ctx: Any) -> Any:
        return _with_own_words(super().get_help_option(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def make_parser(self, ctx: Any) -> _OptionParser:
        return _parser(self, ctx)


class _Group(TyperGroup):
    """A group whose commands are made when they are asked for."""

    names: dict[str, str] = {}  # noqa: RUF012  set once for each class of groups

    def get_help_option(self, ctx: Any) -> Any:
        return _with_own_words(super().get_help_option(ctx))

    def make_parser(self, ctx: Any) -> _OptionParser:
        return _parser(self, ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = self.names.get(cmd_name)
        return None if name is None else single(command_named(name), cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and args[0][:1] != "-" and self.get_command(ctx, args[0]) is None:
            raise usage.unknown_command(self.name if self.name in NOUNS else "", *args[:2])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, self.summary(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def summary(self, name: str) -> str:
        return command_named(self.names[name]).help


class _Root(_Group):
    names = {verb: verb for verb in VERBS} | SECOND_NAMES

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted([*VERBS, *NOUNS])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in NOUNS:
            return _noun(cmd_name)
        return super().get_command(ctx, cmd_name)

    def summary(self, name: str) -> str:
        return _NOUN_HELP[name] if name in NOUNS else super().summary(name)


def _noun(noun: str) -> _Group:
    made = _Group(name=noun, help=_NOUN_HELP[noun], rich_markup_mode=None, no_args_is_help=True)
    made.names = NOUNS[noun]
    return made


def _with_own_words(option: Any) -> Any:
    if option is not None:
        option.help = _HELP
    return option


def _parser(command: TyperCommand | TyperGroup, context: Any) -> _OptionParser:
    parser = _GoFlags(context)
    for param in command.get_params(context):
        param.add_to_parser(parser, context)
    return parser


def _give_signature(
    function: Callable[..., Any], options: tuple[OptionRow, ...], arguments: tuple[ArgumentRow, ...], with_context: bool
) -> None:
    """Let typer see `function` as one that was written with these options as its parameters."""
    described: list[tuple[str, Any, Any]] = (
        [("context", typer.Context, inspect.Parameter.empty)] if with_context else []
    )
    described += [_argument(row) for row in arguments]
    described += [_option(row) for row in options]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, kind, default=value, annotation=type_) for name, type_, value in described]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {name: type_ for name, type_, _ in described}


def _option(row: OptionRow) -> tuple[str, Any, Any]:
    if row.kind == BOOL:
        return row.dest, bool | None, typer.Option(None, *row.names, help=row.help, show_default=False)
    more: dict[str, Any] = {"help": row.help, "metavar": row.metavar or row.kind.upper(), "show_default": False}
    if row.kind in (INT, UINT):
        return row.dest, int | None, typer.Option(None, *row.names, parser=_number(row.kind), **more)
    if row.kind in (LIST, CSV):
        return row.dest, list[str] | None, typer.Option(None, *row.names, **more)
    if row.kind == CHOICE:
        more["parser"] = _choice(row.choices)
    more["autocompletion"] = completion.of_option(row)
    return row.dest, str | None, typer.Option(None, *row.names, **more)


def _argument(row: ArgumentRow) -> tuple[str, Any, Any]:
    many = row.count in (ANY, SOME)
    required = row.count in (ONE, SOME)
    metavar = row.metavar if required else f"[{row.metavar}]"
    default = typer.Argument(
        ... if required else None, metavar=metavar, hidden=True, autocompletion=completion.of_argument(row)
    )
    type_: Any = list[str] if many else str
    return row.dest, type_ if required else type_ | None, default


def _number(kind: str) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            return integer(text, kind)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return number


def _choice(choices: tuple[str, ...]) -> Callable[[str], str]:
    def choice(text: str) -> str:
        if text in choices:
            return text
        raise typer.BadParameter(f"{text!r} is none of {', '.join(choices)}")

    return choice
