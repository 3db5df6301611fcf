"""The option tables are complete: every command is there, has help, and stands in the manual."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from rootless.cli.manual import manual
from rootless.cli.options import CHOICE
from rootless.cli.tables import NOUNS, VERBS, command_named, find
from rootless.cli.tables.limits import LIMITS
from rootless.cli.tables.podman import knows, knows_command

NAMES = sorted({*VERBS, *(name for verbs in NOUNS.values() for name in verbs.values())})


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_the_tables_can_be_done(name: str) -> None:
    row = command_named(name)
    module = import_module(f"rootless.cli.commands.{row.module}")
    assert list(inspect.signature(module.command).parameters) == ["settings", "opts"]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_described(name: str) -> None:
    row = command_named(name)
    assert row.help.endswith(".")
    for option in row.options:
        assert option.names[0].startswith("--"), option.names
        assert option.help, option.names
        assert option.kind != CHOICE or option.choices, option.names


def test_words_lead_to_commands() -> None:
    def name_of(*words: str) -> str | None:
        found = find(list(words))
        return found[0].name if found else None

    assert name_of("ps") == name_of("container", "ls") == name_of("container", "ps") == "ps"
    assert name_of("umount") == name_of("container", "umount") == "unmount"
    assert name_of("image", "rm") == "rmi"
    assert name_of("image", "inspect") == "image inspect"
    assert name_of("system", "info") == "info"
    assert name_of() is name_of("image") is name_of("image", "run") is name_of("nothing") is None


def test_what_podman_knows() -> None:
    assert knows("run", "--cpus")
    assert knows("run", "-P")
    assert not knows("run", "--cpu")
    assert not knows("run", "-Z")
    assert knows("", "--storage-opt")
    assert knows_command("build")
    assert knows_command("pod create")
    assert not knows_command("pod fly")


def test_the_manual_is_up_to_date() -> None:
    written = Path(__file__).parents[2] / "docs" / "commands.md"
    assert written.read_text() == manual(), "python -m rootless.cli.manual > docs/commands.md"


ACCEPTED = {  # their help says so
    *(("images", "all"), ("rmi", "no_prune"), ("save", "multi_image_archive")),
    *(("ps", "external"), ("ps", "sync"), ("container exists", "external"), ("cp", "follow_link")),
}


def sources(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.rglob("*.py")))


@pytest.mark.parametrize("name", NAMES)
def test_no_option_is_ignored(name: str) -> None:
    row = command_named(name)
    place = Path(__file__).parents[2] / "rootless"
    source = (place / "cli" / "commands" / f"{row.module}.py").read_text()
    shared = [name for name in ("registry_options", "requests", "selection") if f"rootless.cli.{name}" in source]
    read = source + "".join((place / "cli" / f"{name}.py").read_text() for name in shared)
    engine = sources(place / "engine") if "create_request" in source else ""
    limits = {option.dest for option in LIMITS if "limits_of(opts)" in source}
    for option in row.options:
        asked = re.search(rf"""request(\.{option.dest}\b|(\.get\(|\[)["']{option.dest}["'])""", engine)
        used = f"opts.{option.dest}" in read or f'get("{option.dest}"' in read
        assert asked or used or option.dest in limits or (name, option.dest) in ACCEPTED, option.names
