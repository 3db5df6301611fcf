"""How much a container has written. Cold: only who asks for sizes pays for walking through its files."""

from __future__ import annotations

import os
from collections.abc import Callable

from rootless.kernel.userns import UserNamespace
from storage.drivers import VFS
from storage.drivers.vfs import COPIED


def written_bytes(driver: str, container_dir: str, user_namespace: Callable[[], UserNamespace]) -> int:
    """Bytes of the files that the container has made or changed: what overlays keep in the upper directory, and with
    vfs what was touched since its copy of the image was complete."""
    if driver != VFS:
        return user_namespace().run(tree_size, container_dir + "/upper", -1)
    try:
        copied = os.stat(f"{container_dir}/{COPIED}").st_mtime_ns
    except FileNotFoundError:
        return 0  # a crash has ended the copying: it has never run
    return user_namespace().run(tree_size, container_dir + "/rootfs", copied)


def tree_size(path: str, since: int) -> int:
    """Bytes of all files below `path` whose content or attributes have changed after `since` (nanoseconds)."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(f"{directory}/{name}")
            except OSError:
                continue  # just deleted
            if found.st_ctime_ns > since:
                total += found.st_size
    return total
