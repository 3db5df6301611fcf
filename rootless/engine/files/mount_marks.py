"""Containers whose files are mounted writable in the mount namespace of `rootless unshare`.

Two overlays may not write to one directory, and no process of ours lives as long as such a mount. So a container that
was ever mounted has a mark in its directory, and who is about to write to its files asks the kernel, if the mark is
there, whether they are still an overlay's (`storage.drivers.in_use`); a fuse-overlayfs holds the mark locked. Who
mounts, starts, or marks holds the container's lock (`bundle.hold`).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from rootless.errors import ConflictError
from rootless.kernel.files import lock_file
from storage.drivers.in_use import is_written_to
from storage.store import Store

MARK = "mounted"
_PATIENCE = 1.0  # seconds for an overlay to go whose mount namespace has just ended


def mark(directory: str) -> int:
    """Say that the container whose directory this is will be mounted writable in our mount namespace. The descriptor is
    inherited by the process that serves its files, where there is one. Raises OSError."""
    fd = os.open(f"{directory}/{MARK}", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    os.set_inheritable(fd, True)
    with suppress(OSError):  # a file system without locks
        lock_file(fd, exclusive=False, blocking=True)
    return fd


def mounted_by(store: Store, directory: str) -> str:
    """Who has the container's files mounted writable, as far as we may see, or ""; a mark that nothing stands for is
    taken away. Raises KernelError."""
    try:
        fd = os.open(f"{directory}/{MARK}", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        wanted = f"/containers/{os.path.basename(directory)}/merged".encode()
        deadline = time.monotonic() + _PATIENCE
        while _is_locked(fd) or (written := store.user_namespace().run(is_written_to, directory, mount_ns=True)):
            found = _process_with(wanted)
            if found or time.monotonic() > deadline:
                return found or "a process in another user namespace, or one that uses files in it, has the mount"
            time.sleep(0.05)
        if written is None and (found := _process_with(wanted)):
            return found
    finally:
        os.close(fd)
    with suppress(OSError):
        os.unlink(f"{directory}/{MARK}")
    return ""


def _is_locked(fd: int) -> bool:
    with suppress(OSError):  # a file system without locks
        return not lock_file(fd, exclusive=True, blocking=False)
    return False


def _process_with(wanted: bytes) -> str:
    """A process whose mount namespace has something mounted writable at a path that ends so, in words, or ""."""
    seen = set()
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        with suppress(OSError):  # not ours, or it has ended
            namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if namespace in seen:
                continue
            with open(f"/proc/{pid}/mountinfo", "rb") as mounts:
                if any(_is_writable(line, wanted) for line in mounts):
                    return f"process {pid} has the mount"
            seen.add(namespace)
    return ""


def refuse_mounted(store: Store, directory: str, name: str, doing: str) -> None:
    """Raise ConflictError where the container's files are mounted writable."""
    found = mounted_by(store, directory)
    if found:
        raise ConflictError(
            f"{doing} {name}: its files are mounted by `rootless mount` ({found})",
            f"`rootless unmount {name}` there, or end that `rootless unshare`",
        )


def _is_writable(line: bytes, wanted: bytes) -> bool:
    if wanted not in line:
        return False
    before, _, after = line.partition(b" - ")
    fields = before.split(b" ")
    options = fields[5].split(b",") + after.split(b" ")[-1].strip().split(b",")
    return fields[4].endswith(wanted) and b"ro" not in options
