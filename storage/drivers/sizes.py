"""How much a container has written, and how large a tree is. Cold: only who asks for sizes pays for walking."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from rootless.kernel.userns import UserNamespace
from storage.drivers import WHOLE
from storage.drivers.vfs import COPIED

ALL = -1  # in place of a moment: every file counts


def written_bytes(driver: str, container_dir: str, user_namespace: Callable[[], UserNamespace]) -> int:
    """Bytes of the files that the container has made or changed: what overlays keep in the upper directory, and with
    vfs what was touched since its copy of the image was complete."""
    return sizes_of([writable_place(driver, container_dir)], user_namespace)[0]


def writable_place(driver: str, container_dir: str) -> tuple[str, int]:
    """Where a container's own files are, and since when (nanoseconds) they are its own, for `sizes_of`."""
    if driver not in WHOLE:
        return container_dir + "/upper", ALL
    try:
        return container_dir + "/rootfs", os.stat(f"{container_dir}/{COPIED}").st_mtime_ns
    except FileNotFoundError:
        return container_dir + "/upper", ALL  # a crash has ended the copying: it has never run, and has no such place


def sizes_of(places: Sequence[tuple[str, int]], user_namespace: Callable[[], UserNamespace]) -> list[int]:
    """Bytes of each tree (path, moment in nanoseconds: only what was changed after it counts; or ALL).

    As ourselves first; the user namespace is made for what only other ids may look into, and one child does it all.
    """
    found = [tree_size(path, since) for path, since in places]
    closed = [number for number, (_, whole) in enumerate(found) if not whole]
    sizes = [size for size, _ in found]
    if closed:
        inside = user_namespace().run(lambda: [tree_size(*places[number])[0] for number in closed])
        for number, size in zip(closed, inside, strict=True):
            sizes[number] = size
    return sizes


def tree_size(path: str, since: int) -> tuple[int, bool]:
    """Bytes of all files below `path` whose content or attributes have changed after `since` (nanoseconds), a file with
    several names once; and whether all directories could be read. What goes away meanwhile does not count."""
    total, whole = 0, True
    seen: set[int] = set()
    todo = [path]
    while todo:
        directory = todo.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if found.st_ctime_ns <= since or (found.st_nlink > 1 and found.st_ino in seen):
                        continue
                    if found.st_nlink > 1:
                        seen.add(found.st_ino)
                    if not stat.S_ISCHR(found.st_mode):
                        total += found.st_size
        except PermissionError:
            whole = False
        except OSError:
            continue  # just deleted, or deeper than a path reaches
    return total, whole
