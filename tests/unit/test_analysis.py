"""The arithmetic of `image analyze`, its tree, its limits, and the browsable view."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static, Tree

from rootless.cli.analysis_tree import FileNode, tree_after, visible
from rootless.cli.analysis_view import AnalysisApp
from rootless.cli.gates import broken, bytes_of, share_of
from rootless.cli.options import finish
from rootless.cli.settings import Settings
from rootless.cli.tables import command_named
from rootless.errors import RootlessError, UsageError
from storage.images.analysis import Analysis, FileReport, analyze, commands_of
from storage.layers.entries import OPAQUE, WHITEOUT, LayerEntry
from storage.lookup import Image


def entry(path: str, size: int = 0, kind: str = "file", mode: int = 0o644) -> LayerEntry:
    return LayerEntry(path.encode(), kind, mode, 0, 0, size, size, 0)


def directory(path: str, mode: int = 0o755) -> LayerEntry:
    return entry(path, kind="directory", mode=mode)


def gone(path: str) -> LayerEntry:
    return entry(path, kind=WHITEOUT)


def analysis_of(*layers: list[LayerEntry]) -> Analysis:
    return analyze([(f"{number:064x}", f"step {number}", layer) for number, layer in enumerate(layers)])


def changes(found: Analysis, number: int) -> list[tuple[str, str, int]]:
    return [(change.kind, change.path.decode(), change.size) for change in found.layers[number].changes]


def test_what_layers_add_change_and_remove() -> None:
    found = analysis_of(
        [directory("etc"), entry("etc/a", 100), entry("etc/b", 50), directory("srv"), entry("srv/x", 7)],
        [directory("etc"), entry("etc/a", 120), entry("etc/c", 10), gone("etc/b"), gone("srv"), gone("never")],
    )
    assert changes(found, 0) == [
        ("A", "etc", 0),
        ("A", "etc/a", 100),
        ("A", "etc/b", 50),
        ("A", "srv", 0),
        ("A", "srv/x", 7),
    ]
    assert changes(found, 1) == [
        ("D", "etc/b", 50),
        ("D", "srv/x", 7),
        ("C", "etc/a", 120),
        ("A", "etc/c", 10),
    ]
    first, second = found.layers
    assert (first.added.files, first.added.bytes, first.size) == (3, 157, 157)
    assert (second.added.bytes, second.changed.bytes, second.removed.bytes, second.size) == (10, 120, 57, 130)


def test_efficiency_is_what_dive_computes() -> None:
    """a: 100 and 120, smallest 100; b: 50 and a removal, smallest 0; c: 10."""
    found = analysis_of([entry("a", 100), entry("b", 50)], [entry("a", 120), gone("b"), entry("c", 10)])
    assert found.efficiency == (100 + 0 + 10) / (100 + 120 + 50 + 10)
    assert (found.size, found.user_size) == (280, 130)
    assert found.wasted == 100 + 50
    assert found.wasted_user == 150 / 130
    assert found.files == [FileReport(b"a", 2, 220, 100, 100), FileReport(b"b", 2, 50, 0, 50)]


def test_nothing_is_perfect() -> None:
    assert (analysis_of().efficiency, analysis_of().wasted_user) == (1.0, 0.0)
    assert analysis_of([entry("a")]).efficiency == 1.0
    lone = analysis_of([entry("a", 5), entry("b", 6)])
    assert (lone.efficiency, lone.wasted, lone.user_size, lone.files) == (1.0, 0, 0, [])


def test_a_file_that_comes_back_was_wasted_once() -> None:
    found = analysis_of([entry("a", 10)], [gone("a")], [entry("a", 4)], [entry("a", 4)])
    assert [changes(found, number) for number in (1, 2, 3)] == [[("D", "a", 10)], [("A", "a", 4)], [("C", "a", 4)]]
    assert found.files == [FileReport(b"a", 4, 18, 0, 14)]


def test_an_opaque_directory_hides_what_was_below_and_replaces_what_it_has_itself() -> None:
    below = [directory("d"), entry("d/a", 10), entry("d/b", 20), directory("d/s"), entry("d/s/c", 30)]
    found = analysis_of(below, [directory("d"), entry("d/a", 11), entry("d", kind=OPAQUE)])
    assert sorted(changes(found, 1)) == [("C", "d/a", 11), ("D", "d/b", 20), ("D", "d/s/c", 30)]
    assert found.wasted == 60


def test_files_and_directories_replace_one_another() -> None:
    found = analysis_of([directory("x"), entry("x/a", 10), entry("y", 20)], [entry("x", 1), entry("y/b", 2)])
    assert sorted(changes(found, 1)) == [("A", "y/b", 2), ("C", "x", 1), ("D", "x/a", 10), ("D", "y", 20)]
    found = analysis_of([entry("y", 20)], [directory("y"), entry("y/b", 2)])
    assert sorted(changes(found, 1)) == [("A", "y/b", 2), ("C", "y", 0), ("D", "y", 20)]
    assert found.wasted == 20


def test_a_directory_has_changed_where_its_permissions_have() -> None:
    found = analysis_of([directory("d"), directory("e")], [directory("d", 0o700), directory("e")])
    assert changes(found, 1) == [("C", "d", 0)]
    assert found.layers[1].changed.files == 0


def test_of_two_entries_of_one_name_the_later_stays() -> None:
    found = analysis_of([entry("a", 10), entry("a", 3)])
    assert (changes(found, 0), found.size) == ([("A", "a", 3)], 3)


def test_commands_belong_to_layers_from_the_top() -> None:
    def image(layers: int, *steps: dict[str, object]) -> Image:
        config = {"rootfs": {"diff_ids": [f"sha256:{n:064x}" for n in range(layers)]}, "history": list(steps)}
        return Image("0" * 64, config, [], "", 0, "")

    steps: list[dict[str, object]] = [{"created_by": "one"}, {"created_by": "env", "empty_layer": True}, {}]
    assert commands_of(image(2, *steps)) == ["one", ""]
    assert commands_of(image(3, *steps)) == ["", "one", ""]
    assert commands_of(image(1, *steps)) == [""]
    assert commands_of(image(0, *steps)) == []


def test_limits() -> None:
    found = analysis_of([entry("a", 100)], [entry("a", 100)])
    assert broken(found, None, None, None) == broken(found, 0.5, 100, 1.0) == []
    assert [fault.partition("(--")[2] for fault in broken(found, 0.51, 99, 0.99)] == [
        "lowest-efficiency)",
        "highest-wasted-bytes)",
        "highest-user-wasted-percent)",
    ]


@pytest.mark.parametrize(
    "text, size",
    [("0", 0), ("17", 17), ("20MB", 20_000_000), ("1.5 GiB", 3 << 29), ("2kB", 2000), ("2k", 2000), ("disabled", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    assert bytes_of(text, "--x") == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1XB", "1e400", "nan", "inf", "1 2", "ⅷ"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        bytes_of(text, "--x")


@pytest.mark.parametrize("text", ["", "2", "-0.1", "nan", "x"])
def test_no_shares(text: str) -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        share_of(text, "--x")


BELOW = [directory("etc"), entry("etc/a", 100), entry("etc/b", 50), entry("srv/x", 7), entry("bin", 5, mode=0o755)]
ABOVE = [entry("etc/a", 120), entry("new/c", 10), gone("etc/b"), gone("srv")]


def shape(node: FileNode) -> dict[str, object]:
    return {
        f"{child.mark} {child.name} {child.size}": shape(child) if child.children else None for child in node.ordered()
    }


def test_the_tree_after_a_layer_has_all_and_marks_what_that_layer_did() -> None:
    found = analysis_of(BELOW, ABOVE, [])
    assert shape(tree_after(found.layers, 1)) == {
        "  bin 5": None,
        "C etc 120": {"C a 120": None, "D b 50": None},
        "A new 10": {"A c 10": None},
        "D srv 0": {"D x 7": None},
    }
    assert shape(tree_after(found.layers, 2)) == {
        "  bin 5": None,
        "  etc 120": {"  a 120": None},
        "  new 10": {"  c 10": None},
    }
    assert shape(tree_after(found.layers, 1, alone=True)) == {
        "C etc 120": {"C a 120": None, "D b 50": None},
        "A new 10": {"A c 10": None},
        "D srv 0": {"D x 7": None},
    }
    assert tree_after(found.layers, 0).children["bin"].details().split() == ["-rwxr-xr-x", "0:0"]


def test_what_is_visible() -> None:
    root = tree_after(analysis_of(BELOW, ABOVE).layers, 1)

    def names(text: str, hidden: str = "") -> list[str]:
        shown = visible(root, text, frozenset(hidden))
        return [child.name for node in (root, *root.ordered()) for child in node.ordered() if id(child) in shown]

    assert names("ETC/A") == ["etc", "a"]
    assert names("", "CD ") == ["new", "c"]
    assert names("", "A") == ["bin", "etc", "srv", "a", "b", "x"]
    assert names("nowhere") == []


def test_without_textual_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    command = import_module("rootless.cli.commands.image_analyze")
    opts = finish(command_named("image analyze"), {"interactive": True, "image": "x.io/app:1"})
    monkeypatch.setattr("os.isatty", lambda fd: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RootlessError, match="textual is not installed") as told:
        command.command(Settings(), opts)
    assert told.value.hint == "pip install 'rootless[analyze]'"


def drive(found: Analysis, script: Callable[[AnalysisApp, Pilot[None]], Awaitable[None]]) -> None:
    async def run() -> None:
        app = AnalysisApp("x.io/app:1", found)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(run())


def files_shown(app: AnalysisApp) -> list[str]:
    tree: Tree[FileNode] = app.query_one("#files", Tree)
    waiting, found = list(reversed(tree.root.children)), []
    while waiting:
        node = waiting.pop()
        assert node.data is not None
        found.append(f"{node.data.mark}{node.data.name}")
        if node.is_expanded:
            waiting += reversed(node.children)
    return found


def test_browsing_layers_files_and_marks() -> None:
    async def script(app: AnalysisApp, pilot: Pilot[None]) -> None:
        assert app.query_one("#layers", DataTable).row_count == 2
        assert files_shown(app) == ["Abin", "Aetc", "Asrv"]
        await pilot.press("down")
        await pilot.pause()
        assert files_shown(app) == [" bin", "Cetc", "Anew", "Dsrv"]
        assert "step 1" in str(app.query_one("#about", Static).render())
        await pilot.press("u", "d")
        assert files_shown(app) == ["Cetc", "Anew"]
        await pilot.press("u", "d", "l")
        assert files_shown(app) == ["Cetc", "Anew", "Dsrv"]
        await pilot.press("tab", "enter")
        await pilot.pause()
        assert files_shown(app) == ["Cetc", "Ca", "Db", "Anew", "Dsrv"]
        await pilot.press("tab", "up")
        await pilot.pause()
        assert files_shown(app) == ["Abin", "Aetc", "Aa", "Ab", "Asrv"]  # what was open stays so
        await pilot.press("q")

    drive(analysis_of(BELOW, ABOVE), script)


def test_browsing_with_a_filter() -> None:
    async def script(app: AnalysisApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", "t", "c", "slash", "b")
        await pilot.pause()
        assert app.query_one("#filter", Input).value == "tc/b"
        assert files_shown(app) == ["Aetc", "Ab"]
        await pilot.press("enter")
        assert app.query_one("#files").has_focus
        await pilot.press("escape")
        await pilot.pause()
        assert files_shown(app) == ["Abin", "Aetc", "Aa", "Ab", "Asrv"]
        await pilot.press("tab")
        assert app.query_one("#layers").has_focus

    drive(analysis_of(BELOW, ABOVE), script)


def test_browsing_names_that_would_move_the_cursor_and_an_image_of_nothing() -> None:
    async def script(app: AnalysisApp, pilot: Pilot[None]) -> None:
        tree: Tree[FileNode] = app.query_one("#files", Tree)
        assert "\\x1b[31m[bold]" in str(tree.root.children[0].label)

    async def empty(app: AnalysisApp, pilot: Pilot[None]) -> None:
        await pilot.press("u", "l", "slash", "x", "enter")
        assert files_shown(app) == []

    drive(analysis_of([entry("\x1b[31m[bold]")]), script)
    drive(analysis_of(), empty)
