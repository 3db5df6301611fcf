"""The analysis of an image in a terminal: layers at the left, files at the right. Needs textual (rootless[analyze])."""

from __future__ import annotations

import os
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Header, Input, Static, Tree
from textual.widgets.tree import TreeNode

from rootless.cli.analysis_tree import UNCHANGED, FileNode, tree_after, visible
from rootless.cli.output import human_size, printable, short
from storage.images.analysis import ADDED, CHANGED, REMOVED, Analysis, LayerReport

_COLOURS = {ADDED: "green", CHANGED: "yellow", REMOVED: "red", UNCHANGED: ""}
_MOST_EXPANDED = 500  # nodes that a filter opens by itself
_WORST = 8


def browse(title: str, found: Analysis) -> None:
    """Show it until the user has seen enough."""
    AnalysisApp(title, found).run()


class AnalysisApp(App[None]):
    """`title` names the image."""

    CSS = """
    #left { width: 45%; }
    #layers { height: 1fr; }
    #about { height: auto; max-height: 50%; border-top: solid $primary; padding: 0 1; }
    #files { width: 1fr; height: 1fr; border-left: solid $primary; }
    #filter { display: none; }
    #filter.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("tab", "other_side", "Layers/files", priority=True),
        Binding("slash", "filter", "Filter"),
        Binding("escape", "no_filter", "All", show=False, priority=True),
        Binding("l", "alone", "Layer only"),
        Binding("a", f"hide('{ADDED}')", "Added"),
        Binding("c", f"hide('{CHANGED}')", "Changed"),
        Binding("d", f"hide('{REMOVED}')", "Removed"),
        Binding("u", f"hide('{UNCHANGED}')", "Unchanged"),
    ]

    def __init__(self, title: str, found: Analysis) -> None:
        super().__init__()
        self.title = printable(title)
        self.sub_title = f"{human_size(found.size)}, efficiency {found.efficiency:.1%}"
        self.found = found
        self.number = 0
        self.alone = False
        self.hidden: frozenset[str] = frozenset()
        self.wanted = ""
        self._shown: dict[int, None] | None = None
        self._made: tuple[tuple[int, bool], FileNode] | None = None

    def compose(self) -> ComposeResult:
        """The widgets."""
        yield Header()
        with Horizontal():
            with Vertical(id="left"):
                yield DataTable[str](id="layers", cursor_type="row")
                yield Static(id="about", markup=False)
            with Vertical():
                files = Tree[FileNode]("/", id="files")
                files.show_root = False
                yield files
                yield Input(placeholder="part of a path", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Fill the list of layers; its cursor brings the rest."""
        table = self.query_one("#layers", DataTable)
        table.add_columns("Size", "+", "~", "-", "Created by")
        for layer in self.found.layers:
            counts = [str(tally.files) for tally in (layer.added, layer.changed, layer.removed)]
            table.add_row(human_size(layer.size), *counts, printable(" ".join(layer.command.split())) or "?")
        table.focus()
        self.show_layer()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Another layer."""
        if event.cursor_row != self.number and event.cursor_row < len(self.found.layers):
            self.number = event.cursor_row
            self.show_layer()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Another filter."""
        self.wanted = event.value
        self.show_layer()

    def on_input_submitted(self) -> None:
        """The filter is complete."""
        self.query_one("#files").focus()

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[FileNode]) -> None:
        """A directory is filled when it is opened."""
        self._fill(event.node)

    def action_other_side(self) -> None:
        """From the layers to the files, or back."""
        files = self.query_one("#files")
        (self.query_one("#layers") if files.has_focus else files).focus()

    def action_filter(self) -> None:
        """Ask for a filter."""
        line = self.query_one("#filter", Input)
        line.add_class("shown")
        line.focus()

    def action_no_filter(self) -> None:
        """Let go of the filter."""
        line = self.query_one("#filter", Input)
        line.remove_class("shown")
        line.value = ""
        self.query_one("#files").focus()

    def action_alone(self) -> None:
        """Only what this layer did, or all that is there after it."""
        self.alone = not self.alone
        self.show_layer()

    def action_hide(self, mark: str) -> None:
        """Hide files with this mark, or show them again."""
        self.hidden ^= {mark}
        self.show_layer()

    def show_layer(self) -> None:
        """Show what is known of the layer, and its files."""
        files: Tree[FileNode] = self.query_one("#files", Tree)
        opened = _opened(files.root)
        files.clear()
        if not self.found.layers:
            return
        layer = self.found.layers[self.number]
        self.query_one("#about", Static).update(_about(layer, self.found))
        root = self._tree()
        self._shown = visible(root, self.wanted, self.hidden) if self.wanted or self.hidden else None
        files.root.data = root
        files.root.expand()
        self._open(files.root, opened)
        if files.root.children:
            self.call_after_refresh(
                lambda: files.move_cursor(files.root.children[0]) if files.cursor_line < 0 else None
            )

    def _tree(self) -> FileNode:
        """The files of the layer; while one types a filter always the same."""
        what = (self.number, self.alone)
        if self._made is None or self._made[0] != what:
            self._made = what, tree_after(self.found.layers, self.number, self.alone)
        return self._made[1]

    def _fill(self, place: TreeNode[FileNode]) -> None:
        if place.children or place.data is None:
            return
        for child in place.data.ordered():
            if self._shown is None or id(child) in self._shown:
                place.add(_label(child), child, allow_expand=bool(child.children))

    def _open(self, place: TreeNode[FileNode], opened: set[tuple[str, ...]]) -> None:
        """Open directories again that were, and those in which the filter has found something."""
        waiting: list[tuple[TreeNode[FileNode], tuple[str, ...]]] = [(place, ())]
        left = _MOST_EXPANDED
        while waiting and left:
            node, path = waiting.pop(0)
            left -= 1
            self._fill(node)
            node.expand()
            below = [(child, (*path, child.data.name)) for child in node.children if child.allow_expand and child.data]
            waiting += below if self.wanted else [one for one in below if one[1] in opened]


def _opened(place: TreeNode[FileNode]) -> set[tuple[str, ...]]:
    """The paths of the directories that are open."""
    found: set[tuple[str, ...]] = set()
    waiting: list[tuple[TreeNode[FileNode], tuple[str, ...]]] = [(place, ())]
    while waiting:
        node, path = waiting.pop()
        for child in node.children:
            if child.is_expanded and child.data is not None:
                found.add((*path, child.data.name))
                waiting.append((child, (*path, child.data.name)))
    return found


def _label(node: FileNode) -> Text:
    name = printable(node.name + node.target())
    return Text(f"{node.details()} {human_size(node.size):>8}  {node.mark} {name}", style=_COLOURS[node.mark])


def _about(layer: LayerReport, found: Analysis) -> str:
    lines = [
        f"Layer {short(layer.diff_id)}: {human_size(layer.size)}",
        f"added {_tally(layer.added.files, layer.added.bytes)}, changed "
        f"{_tally(layer.changed.files, layer.changed.bytes)}, removed "
        f"{_tally(layer.removed.files, layer.removed.bytes)}",
        printable(layer.command, "\n") or "(nobody says what made it)",
        "",
        f"Image: {human_size(found.wasted)} wasted, {found.wasted_user:.1%} of what is above the lowest layer",
    ]
    worst = [file for file in found.files if file.wasted][:_WORST]
    lines += [f"{human_size(file.wasted):>8}  {file.copies}x  /{printable(os.fsdecode(file.path))}" for file in worst]
    return "\n".join(lines)


def _tally(files: int, size: int) -> str:
    return f"{files} ({human_size(size)})" if files else "0"
