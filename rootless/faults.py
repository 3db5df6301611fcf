"""Deaths on demand, for tests: a process with ROOTLESS_TEST_DIE_AT=STEP in its environment is killed at that step."""

from __future__ import annotations

import os

STEP = os.environ.get("ROOTLESS_TEST_DIE_AT")


def step(name: str) -> None:
    """Mark a moment at which a crash leaves something half done."""
    if STEP is not None and name == STEP:
        os.kill(os.getpid(), 9)
        os._exit(137)  # pid 1 of a pid namespace cannot kill itself
