"""The small parser and typer read the same line as the same values, for every option of every command."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.cli import usage
from rootless.cli.options import BOOL, CHOICE, CSV, INT, LIST, UINT, Command, Option, Opts
from rootless.cli.parser import parse
from rootless.cli.settings import Settings
from rootless.cli.tables import GLOBAL, NOUNS, VERBS, command_named
from rootless.cli.typerapp import single
from rootless.errors import UsageError

NAMES = sorted({*VERBS, *(name for verbs in NOUNS.values() for name in verbs.values())})


def typers_reading(row: Command, words: list[str]) -> dict[str, Any] | None:
    """What typer makes of the words; None where it refuses them."""
    seen: list[Opts] = []

    def act(row: Command, _: Settings, opts: Opts) -> int:
        seen.append(opts)
        return 0

    try:
        single(row, act=act).main(list(words), prog_name="x", standalone_mode=False, obj=Settings())
    except (usage.WRONG, UsageError):
        return None
    return vars(seen[0])


def small_reading(row: Command, words: list[str]) -> dict[str, Any] | None:
    opts = parse(row, words)
    return None if opts is None else vars(opts)


def good_values(option: Option) -> st.SearchStrategy[str]:
    if option.kind == CHOICE:
        return st.sampled_from(option.choices)
    if option.kind == INT:
        return st.integers(-(10**9), 10**9).map(str)
    if option.kind == UINT:
        return st.integers(0, 10**9).map(str)
    if option.kind == CSV:
        return st.sampled_from(["a", "a,b", "", ",", "x y"])
    return st.sampled_from(["a", "", "-", "--", "-x", "a=b", "=", "a b", "ü", "\udcff", "--rm", "1"])


def uses(option: Option) -> st.SearchStrategy[list[str]]:
    """Ways to write one option."""
    name = st.sampled_from(option.names)

    def written(name: str, value: str, form: int) -> list[str]:
        if form == 0:
            return [name, value]
        if form == 1 or name.startswith("--"):
            return [f"{name}={value}"]
        return [name + value]

    if option.kind == BOOL:
        value = st.sampled_from(["true", "false", "1", "0", "T", "F", "maybe", ""])
        return st.one_of(name.map(lambda n: [n]), st.tuples(name, value).map(lambda pair: [f"{pair[0]}={pair[1]}"]))
    wrong = st.sampled_from(["x", "-5", "+7", "1_0", " 1", "1e3", "", "99999999999999999999", "٣"])
    value = good_values(option) if option.kind in (LIST, CSV) else st.one_of(good_values(option), wrong)
    return st.tuples(name, value, st.integers(0, 2)).map(lambda parts: written(*parts))


def lines(row: Command) -> st.SearchStrategy[list[str]]:
    """Lines for a command: its options in all spellings and clusters, arguments, and some nonsense."""
    switches = "".join(
        name[1] for option in row.options if option.kind == BOOL for name in option.names if len(name) == 2
    )
    shorts = "".join(name[1] for option in row.options for name in option.names if len(name) == 2)
    pieces = [uses(option) for option in row.options]
    if switches:
        pieces.append(st.text(switches, min_size=1, max_size=4).map(lambda cluster: ["-" + cluster]))
    if shorts:
        pieces.append(st.text(shorts + "=x8", min_size=1, max_size=5).map(lambda cluster: ["-" + cluster]))
    pieces.append(
        st.sampled_from(
            [["a"], ["b c"], ["-"], ["--"], [""], ["--no-such"], ["-Z"], ["--="], ["-="], ["---"], ["--rm-"]]
        )
    )
    words = st.lists(st.one_of(*pieces), max_size=6).map(lambda groups: [word for group in groups for word in group])
    needed = [argument for argument in row.arguments if argument.count in "1+"]
    return st.one_of(words, words.map(lambda line: [*line, *("arg" for _ in needed)]))


@pytest.mark.parametrize("name", NAMES)
def test_both_readers_agree_on_any_line(name: str) -> None:
    row = command_named(name)

    @settings(max_examples=60, deadline=None)
    @given(lines(row))
    def agree(words: list[str]) -> None:
        if any(word in ("--help", "-h") for word in words):
            return
        assert small_reading(row, words) == typers_reading(row, words), words

    agree()


@pytest.mark.parametrize("name", NAMES)
def test_both_readers_agree_on_each_option_alone(name: str) -> None:
    row = command_named(name)
    rest = ["arg" for argument in row.arguments if argument.count in "1+"]
    for option in row.options:
        value = {CHOICE: option.choices[0] if option.choices else "", INT: "-3", UINT: "3"}.get(option.kind, "v")
        for flag in option.names:
            for words in (
                ([flag], [f"{flag}=false"], [f"{flag}=true"])
                if option.kind == BOOL
                else (
                    [flag, value],
                    [f"{flag}={value}"],
                    [flag + value],
                )
            ):
                small = small_reading(row, [*words, *rest])
                assert small == typers_reading(row, [*words, *rest]), words
                if not (words == [flag + value] and flag.startswith("--")):
                    assert small is not None, words


def test_both_readers_agree_on_the_options_before_the_verb() -> None:
    for words in (
        ["--root", "/x", "ps", "--all"],
        ["--log-level=debug", "run", "--", "-x"],
        ["-v"],
        ["--version=false", "a"],
    ):
        small = small_reading(GLOBAL, words)
        assert small is not None
        assert small == typers_reading(GLOBAL, words)


def test_no_name_of_an_option_stands_twice_in_a_command() -> None:
    for name in NAMES:
        row = command_named(name)
        flags = [flag for option in row.options for flag in option.names]
        assert len(flags) == len(set(flags)), name
        fields = [option.dest for option in row.options] + [argument.dest for argument in row.arguments]
        assert len(fields) == len(set(fields)), name


DOCKERS = {  # what docker has and Podman 5.4 has not
    "cp": "--follow-link -L --quiet -q",
    "create": "--health-start-interval",
    "logs": "--details",
    "restart": "--signal -s",
    "run": "--health-start-interval",
    "stop": "--signal -s",
    "update": "--health-start-interval",
}


def test_every_flag_is_one_that_podman_has_or_ours_by_intent() -> None:
    from rootless.cli.tables.podman import knows

    own = {("pull", "--policy")}  # newer than 5.4
    own |= {("system check", "--format"), ("system prune", "--blobs")}
    own |= {("create", "--domainname"), ("run", "--domainname"), ("secret create", "--ignore")}  # Docker's; newer
    for name, words in DOCKERS.items():
        own |= {(name, flag) for flag in words.split()}
    hidden = {"--net", "--dns-opt", "--timeout"}  # Docker's spellings, which Podman takes without listing them
    for name in NAMES:
        for option in command_named(name).options:
            for flag in option.names:
                if name not in ("doctor", "image analyze") and (name, flag) not in own and flag not in hidden:
                    assert knows(name, flag), f"{name} {flag}"
