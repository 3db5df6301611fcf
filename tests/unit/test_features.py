"""docs/FEATURES.md lists every feature once, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (TESTS.parent / "docs/FEATURES.md").read_text().splitlines()
    if re.match(r"\| \d", line)
]


def test_every_feature_has_one_row_with_a_state() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 67))
    for number, _, state, *_ in ROWS:
        assert re.match(r"works$|partly: .|not yet(: .|$)", state), number


def test_what_works_is_shown_by_tests_that_exist() -> None:
    defined: dict[str, set[str]] = {}
    for number, _, state, shown in ROWS:
        named = re.findall(r"(\w+/\w+\.py)::(\w+)", shown)
        assert named or state.startswith("not yet"), f"row {number} names no test"
        for file, test in named:
            if file not in defined:
                tree = ast.parse((TESTS / file).read_text())
                defined[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert test in defined[file], f"row {number}: {file} has no {test}"
