"""docs/HOSTILE.md lists every case once, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (TESTS.parent / "docs/HOSTILE.md").read_text().splitlines()
    if re.match(r"\| \d", line)
]


def test_every_case_has_one_row() -> None:
    numbers = [int(row[0]) for row in ROWS]
    assert numbers == sorted(set(numbers))
    assert numbers[:14] == list(range(1, 15))
    assert all(len(row) == 4 for row in ROWS)


def test_each_is_shown_by_tests_that_exist() -> None:
    for number, _, _, shown in ROWS:
        named = [re.fullmatch(r"(\w+/\w+\.py)::(\w+)", name) for name in shown.split(", ")]
        assert named, number
        for found in named:
            assert found, f"row {number}: {shown}"
            tree = ast.parse((TESTS / found[1]).read_text())
            defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert found[2] in defined, f"row {number}: {found[1]} has no {found[2]}"
