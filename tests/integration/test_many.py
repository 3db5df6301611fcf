"""Very many containers at once. The number is ROOTLESS_TEST_MANY, 60 if it is not set; 1,000 take a minute or two."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

from tests.support.command import Rootless
from tests.support.leaks import assert_nothing_left

MANY = int(os.environ.get("ROOTLESS_TEST_MANY", "60"))
AT_ONCE = 16
PATIENCE = 120.0 + MANY
NONE = ("--network", "none")


def side_by_side(rl: Rootless, lines: list[tuple[str, ...]]) -> None:
    """Each line is a command, 16 at once; all succeed, and none has anything to say."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda words: rl(*words, check=False, timeout=PATIENCE), lines))
    wrong = [(words, done.stderr) for words, done in zip(lines, found, strict=True) if done.returncode or done.stderr]
    assert wrong == []


def states(rl: Rootless) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in json.loads(rl.out("ps", "-a", "--format", "json")):
        found[row["State"]] = found.get(row["State"], 0) + 1
    return found


def test_many_detached_containers(rl: Rootless, image: str) -> None:
    names = [f"m{number}" for number in range(MANY)]
    side_by_side(rl, [("run", "-d", "--name", name, *NONE, image, "sleep", "100000") for name in names])
    assert states(rl) == {"running": MANY}
    assert sorted(rl.out("ps", "--format", "{{.Names}}").split()) == sorted(names)
    inspected = json.loads(rl.out("inspect", *names))
    assert len({found["State"]["Pid"] for found in inspected}) == MANY
    assert len({found["State"]["ConmonPid"] for found in inspected}) == MANY
    assert len(json.loads(rl.out("stats", "--no-stream", "--format", "json", timeout=PATIENCE))) == MANY
    assert rl.out("exec", names[-1], "echo", "there") == "there"
    assert len(rl.out("stop", "-a", "-t", "0", timeout=PATIENCE).split()) == MANY
    assert states(rl) == {"exited": MANY}
    side_by_side(rl, [("start", name) for name in names])
    assert states(rl) == {"running": MANY}
    side_by_side(rl, [("stop", "-t", "0", name) for name in names])
    assert states(rl) == {"exited": MANY}
    assert len(rl.out("rm", "-a", timeout=PATIENCE).split()) == MANY
    assert states(rl) == {}
    assert_nothing_left(rl.place, rl.root, rl.runroot)
