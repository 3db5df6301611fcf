"""Containers whose files are mounted writable in the mount namespace of `rootless unshare`.

Two overlays may not write to one directory, and no process of ours lives as long as such a mount. So a container that
was ever mounted has a mark in its directory, and who is about to write to its files looks, if the mark is there,
whether any process still has the mount. Who mounts, starts, or marks holds the container's lock (`bundle.hold`).
"""

from __future__ import annotations

import os
from contextlib import suppress

from rootless.errors import ConflictError
from rootless.kernel.files import write_all
from rootless.kernel.pidfd import start_time

MARK = "mounted"


def mark(directory: str) -> None:
    """Say that the container whose directory this is will be mounted writable in our mount namespace, and which other
    processes are in it: who is in another user namespace can see no more than whether those live. Raises OSError."""
    ours = os.stat("/proc/self/ns/mnt").st_ino
    there = []
    for pid in _processes():
        with suppress(OSError):
            if pid != os.getpid() and os.stat(f"/proc/{pid}/ns/mnt").st_ino == ours:
                there.append(f"{pid} {start_time(pid)}\n")
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(f"{directory}/{MARK}", flags, 0o600)
    try:
        write_all(fd, "".join(there).encode())
    finally:
        os.close(fd)


def mounted_by(directory: str) -> int:
    """A process that has the container's files mounted writable, or 0; a mark that nothing stands for is taken away."""
    path = f"{directory}/{MARK}"
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            noted = set(file.read(1 << 20).splitlines())
    except FileNotFoundError:
        return 0
    wanted = f"/containers/{os.path.basename(directory)}/merged".encode()
    seen = set()
    for pid in _processes():
        try:
            namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if namespace in seen:
                continue
            with open(f"/proc/{pid}/mountinfo", "rb") as mounts:
                if any(_is_writable(line, wanted) for line in mounts):
                    return pid
            seen.add(namespace)
        except PermissionError:
            if f"{pid} {start_time(pid)}" in noted:
                return pid
        except OSError:
            pass  # it has ended
    with suppress(OSError):
        os.unlink(path)
    return 0


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def refuse_mounted(directory: str, name: str, doing: str) -> None:
    """Raise ConflictError where the container's files are mounted writable."""
    pid = mounted_by(directory)
    if pid:
        raise ConflictError(
            f"{doing} {name}: its files are mounted by `rootless mount` (process {pid} has the mount)",
            f"`rootless unmount {name}` there, or end that `rootless unshare`",
        )


def _is_writable(line: bytes, wanted: bytes) -> bool:
    if wanted not in line:
        return False
    before, _, after = line.partition(b" - ")
    fields = before.split(b" ")
    options = fields[5].split(b",") + after.split(b" ")[-1].strip().split(b",")
    return fields[4].endswith(wanted) and b"ro" not in options
