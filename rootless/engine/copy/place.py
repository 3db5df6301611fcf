"""Where `cp` reads and writes: the host's files, or those of a container, which are never walked by the host's rules.

Every path of a container is resolved by the kernel with the container's root for "/" (openat2(2), RESOLVE_IN_ROOT) in a
child that is root over the container's ids and nothing else: links that change meanwhile lead nowhere out of it.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from rootless.errors import ConflictError, RootlessError
from rootless.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from rootless.kernel.mounts import AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, mount_setattr
from rootless.kernel.pidfd import wait_exit
from rootless.runtime.inside import mount_point, open_inside
from rootless.runtime.rootfs import Assembly
from rootless.runtime.users import look_up, read_small_file
from storage.drivers import mount_rootfs

_MOST_LINKS = 40
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Place:
    """A tree of files. `root`: the descriptor of a container's root directory, or None for the host's own."""

    def __init__(self, root: int | None = None) -> None:
        self.root = root

    def open(self, path: bytes, flags: int) -> int:
        """Open what `path` leads to, links followed. Raises OSError."""
        if self.root is None:
            return os.open(path, flags | os.O_CLOEXEC)
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        return openat2(self.root, path.lstrip(b"/") or b".", flags, resolve=resolve)

    def find(self, path: bytes) -> int | None:
        """An O_PATH descriptor of what `path` leads to, None where nothing is there. Raises OSError."""
        try:
            return self.open(path, os.O_PATH)
        except FileNotFoundError:
            return None

    def holds(self, path: bytes, other: bytes) -> bool:
        """Whether `other`, or the directory that it is to be made in, lies in the directory `path` or is it."""
        above = self._real(path)
        below = self._real(other) or self._real(os.path.dirname(other.rstrip(b"/")) or b"/")
        return bool(above and below) and below.startswith(above)

    def _real(self, path: bytes) -> str:
        """The path of a directory without links; "" where it is none."""
        try:
            fd = self.open(path, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return ""
        name = os.readlink(f"/proc/self/fd/{fd}").rstrip("/") + "/"
        os.close(fd)
        return name

    def last_name(self, path: bytes) -> tuple[int, bytes]:
        """(directory, name) that `path` stands for when links at its end are followed, also one that leads to nothing.

        Raises OSError, FileNotFoundError where the directory is not there.
        """
        for _ in range(_MOST_LINKS):
            parent, name = os.path.split(path.rstrip(b"/"))
            directory = self.open(parent or (b"/" if self.root is not None else b"."), os.O_PATH | os.O_DIRECTORY)
            try:
                link = os.readlink(name, dir_fd=directory)
            except OSError:  # no link, or not there
                return directory, name
            os.close(directory)
            path = os.path.join(parent, link)
        raise OSError(40, "too many links", path)

    def make_directory(self, path: bytes) -> int:
        """An O_PATH descriptor of the directory `path` of a container; those that are missing are made."""
        assert self.root is not None
        return mount_point(self.root, os.fsdecode(path), directory=True)

    def kernels(self) -> frozenset[int]:
        """The devices of a container's /proc, /sys and /dev, where file systems of the kernel's are mounted there."""
        found = set()
        if self.root is not None:
            for path in (b"proc", b"sys", b"dev"):
                fd = self.find(path)
                if fd is not None:
                    found.add(os.fstat(fd).st_dev)
                    os.close(fd)
            found.discard(os.fstat(self.root).st_dev)
        return frozenset(found)

    def owner(self, user: str) -> tuple[int, int]:
        """(uid, gid) of a container's `user`, by its own /etc/passwd and /etc/group. Raises UsageError."""
        if user in ("", "0", "root"):
            return 0, 0
        texts = []
        for path in (b"etc/passwd", b"etc/group"):
            fd = self.find(path)
            if fd is not None and not stat.S_ISREG(os.fstat(fd).st_mode):
                raise RootlessError(f"reading /{path.decode()} of the container: it is not a regular file")
            texts.append(b"" if fd is None else read_small_file(f"/proc/self/fd/{fd}"))
            if fd is not None:
                os.close(fd)
        found = look_up(user, *texts)
        return found.uid, found.gid


def open_place(order: dict[str, Any]) -> Place:
    """The files of the container that `order` describes (see copy_inside.Inside), for a child in its user namespace."""
    if "pid" in order:
        return Place(_root_of_process(order["pid"], order["pidfd"], order["name"]))
    return Place(_mount(order))


def _root_of_process(pid: int, pidfd: int, name: str) -> int:
    """The root directory of a running container, with everything that is mounted in it."""
    gone = ConflictError(f"copying: {name} has just ended", "try again")
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        if wait_exit(pidfd, 0):
            raise gone from None
        raise
    if wait_exit(pidfd, 0):  # the number may be somebody else's
        raise gone
    return root


def _mount(order: dict[str, Any]) -> int:
    """Mount the files of a container that does not run, and its volumes, where only this child sees them."""
    target: str = order["target"]
    for plan, place in order["images"]:
        mount_rootfs(plan, place)
    mount_rootfs(order["rootfs"], target)
    root = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts = order["mounts"]
    if not order["writable"]:
        mounts = [mount for mount in mounts if _there(root, mount["destination"])]
    config = {"root": {"path": target}, "mounts": mounts, "process": {"cwd": "/"}}
    assembly = Assembly({"config": config, "rootfs": order["rootfs"]})
    assembly.build()
    if order["owner"] is not None:
        assembly.give(*Place(root).owner(order["owner"]))
    if order["read_only"]:
        mount_setattr(root, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)
    return root


def _there(root: int, path: str) -> bool:
    try:
        os.close(open_inside(root, path))
    except OSError:
        return False
    return True


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def failure(doing: str, error: OSError, path: bytes | None = None) -> RootlessError:
    """The error for the user of what the kernel said."""
    what = error.strerror or str(error)
    where = f"{os.fsdecode(path)}: " if path is not None else ""
    hint = None
    if error.errno == 30:
        hint = "it is mounted read-only there"
    return RootlessError(f"{doing}: {where}{what}", hint)
