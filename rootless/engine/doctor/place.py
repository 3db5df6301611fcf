"""The store's file system, and how root file systems are put together on it: found out by doing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

from rootless.engine.doctor.finding import NOTE, OK, PROBLEM, WARNING, Finding, as_root
from rootless.engine.hostfacts import existing_ancestor, mount_of
from rootless.errors import RootlessError
from rootless.kernel.files import reflink, remove_tree
from storage.database import NETWORK_FILE_SYSTEMS
from storage.drivers import OVERLAY, VFS
from storage.layout import Layout

_LITTLE_SPACE = 2 << 30
_FEW_FILES = 50_000
_ELSEWHERE = "export ROOTLESS_ROOT=DIRECTORY   # one on a local disk, or --root for a single command"


def check_store(root: str) -> Iterator[Finding]:
    """Kind of file system, room, permissions, extended attributes and clones, where the store is or would be."""
    place = existing_ancestor(root)
    mount = mount_of(place)
    where = f"{root} on {mount.fstype}"
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = "ro" in mount.options or bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        reason = f"{mount.place} is mounted read-only" if read_only else f"{place} is not ours to write"
        yield Finding("store", PROBLEM, f"{where}: {reason}", (_ELSEWHERE,))
        return
    if mount.fstype in NETWORK_FILE_SYSTEMS:
        text = (
            f"{where}: a network file system knows no subordinate ids and locks slowly; images with other owners fail"
        )
        yield Finding("store", WARNING, text, (_ELSEWHERE,))
    elif "noexec" in mount.options:
        text = f"{where}, mounted noexec: programs of a container whose files are copies (vfs) do not start"
        yield Finding("store", WARNING, text, (as_root(f"mount -o remount,exec {mount.place}"),))
    else:
        yield Finding("store", OK, where)
    yield from _check_room(place)
    yield from _check_abilities(place)


def _check_room(place: str) -> Iterator[Finding]:
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    size = f"{free / 1e9:.1f} GB free"
    prune = ("rootless image prune --all",)
    if free < _LITTLE_SPACE:
        yield Finding("room", WARNING, size, prune)
    elif room.f_files and room.f_favail < _FEW_FILES:
        yield Finding("room", WARNING, f"{size}, but only {room.f_favail} files (inodes) more", prune)
    else:
        yield Finding("room", OK, size)


def _check_abilities(place: str) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=place) as source, tempfile.TemporaryFile(dir=place) as target:
            source.write(b"x" * 4096)
            source.flush()
            clones = reflink(target.fileno(), source.fileno())
            try:
                os.setxattr(source.fileno(), "user.rootless", b"1")
                attributes = True
            except OSError:
                attributes = False
    except OSError as error:
        yield Finding("store", PROBLEM, f"making a file in {place}: {error.strerror}", (_ELSEWHERE,))
        return
    shared = "copies share their blocks (reflink)" if clones else "no reflinks: copies by the vfs driver take full room"
    if attributes:
        yield Finding("file system", OK, f"user attributes; {shared}")
    else:
        text = f"no user attributes, which overlays and single-id mode need; {shared}"
        yield Finding("file system", WARNING, text, (_ELSEWHERE,))


def check_drivers(root: str) -> tuple[list[Finding], bool]:
    """Try every storage driver on the store's file system. Returns also whether the kernel's overlay works."""
    from storage.drivers.probe import HINTS, probe

    parent = existing_ancestor(root)
    try:
        place = tempfile.mkdtemp(prefix=".rootless-doctor-", dir=parent)
    except OSError:
        return [], False  # check_store has said that nothing can be written there
    try:
        layout = Layout(place + "/store")
        layout.create()
        tried = probe(layout)
    except RootlessError as error:
        return [Finding("storage driver", PROBLEM, error.message, (error.hint,) if error.hint else ())], False
    except OSError as error:
        return [Finding("storage driver", PROBLEM, f"trying drivers in {parent}: {error}", (_ELSEWHERE,))], False
    finally:
        remove_tree(place)
    refused: dict[str, str] = tried["refused"]
    findings = []
    for name, reason in refused.items():
        level = WARNING if name == OVERLAY else NOTE
        hint = HINTS.get(name)
        findings.append(Finding(f"driver {name}", level, f"does not work here: {reason}", (hint,) if hint else ()))
    chosen = str(tried["default"])
    level = WARNING if chosen == VFS else OK
    text = "each container gets a full copy of its image" if chosen == VFS else "tried"
    findings.append(Finding("storage driver", level, f"{chosen} ({text})"))
    return findings, OVERLAY not in refused
