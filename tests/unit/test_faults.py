"""Every moment at which a process can be killed on demand is one at which a test does so."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_step_has_a_test_that_kills_there() -> None:
    steps = {
        name
        for room in ("rootless", "storage", "network")
        for path in (ROOT / room).rglob("*.py")
        for name in re.findall(r"\bstep\(\"([^\"]+)\"\)", path.read_text())
    }
    assert len(steps) > 50
    killing = [text for path in (ROOT / "tests").rglob("test_*.py") if "DIE_AT" in (text := path.read_text())]
    untested = [name for name in sorted(steps) if not any(f'"{name}"' in text for text in killing)]
    assert untested == []
