"""Files and directories that are written under another name and renamed into place, or deleted, within moments.

They have no lock, unlike all else in tmp/: an old one was left by a process that was killed.
"""

from __future__ import annotations

import os
import time

from storage.layout import Layout

_PATIENCE = 3600.0  # seconds


def stale_drafts(layout: Layout) -> list[str]:
    """Paths of those that nobody has touched for an hour: new databases, probes of drivers and their result, seccomp
    filters."""
    limit = time.time() - _PATIENCE
    found = []
    for directory, beginnings in (
        (layout.root, (os.path.basename(layout.database) + ".new-",)),
        (layout.tmp, ("probe-", "driver-")),
        (f"{layout.root}/seccomp", ("new-",)),
    ):
        try:
            names = [name for name in os.listdir(directory) if name.startswith(beginnings)]
        except FileNotFoundError:
            continue
        for name in names:
            try:
                if os.lstat(f"{directory}/{name}").st_mtime < limit:
                    found.append(f"{directory}/{name}")
            except FileNotFoundError:
                continue
    return found
