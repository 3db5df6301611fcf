"""What a started helper inherits: only what it is given."""

from __future__ import annotations

import os


def close_all_but(kept: list[int]) -> list[tuple[int, int]]:
    """Actions for posix_spawn that close every inheritable descriptor from 3 on except `kept`.

    Whoever started us may have left some open; in a helper that lives on, they would keep a pipe's reader waiting.
    """
    actions = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd < 3 or fd in kept:
            continue
        try:
            inheritable = os.get_inheritable(fd)
        except OSError:  # the one of the listing itself
            continue
        if inheritable:
            actions.append((os.POSIX_SPAWN_CLOSE, fd))
    return actions
