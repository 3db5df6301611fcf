"""The container's file system, in the order in which it comes to be.

Every mount is made detached and then attached to a descriptor that was resolved with the image's root as "/"; the
host's tree stays reachable for the sources of binds until `enter` turns the root over and lets go of it.
"""

from __future__ import annotations

import os

from rootless.errors import ImageError, RootlessError
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    mount_setattr,
    open_tree,
    pivot_root,
    umount,
)
from rootless.runtime.devices import clone_device, fill_dev
from rootless.runtime.inside import mount_point
from rootless.runtime.mounting import attach, clone_tree, is_directory, make_or_borrow
from rootless.runtime.mountoptions import MountOptions
from rootless.runtime.protect import freeze_paths, mask_paths, set_sysctls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.runtime.console import Console
    from rootless.runtime.owners import Gift

# Where these are mounted there may be no link on the way: what is written, masked and made read-only there must be the
# kernel's own (CVE-2019-19921).
_KERNEL_TYPES = ("proc", "sysfs")
# Where nothing else may come through a link of the image: devices, files and mount points of ours would be made in it.
_OURS = ("/", "/dev", "/proc", "/sys")
INIT_PATH = "/dev/init"


class Assembly:
    """The making of one root file system. `target` is where it is mounted until it becomes "/"; `init` is the path of
    the init program inside, or None; `warnings` says what was done otherwise than asked."""

    __slots__ = (
        "_config",
        "_devpts",
        "_gifts",
        "_init_source",
        "_late",
        "_mapped_gids",
        "_proc",
        "_root",
        "_unowned",
        "init",
        "target",
        "warnings",
    )

    def __init__(self, plan: dict[str, Any]) -> None:
        self._config: dict[str, Any] = plan["config"]
        self.target: str = plan.get("target") or self._config["root"]["path"]
        self._init_source: str | None = plan.get("init")
        self.init = INIT_PATH if self._init_source else None
        self._mapped_gids = plan.get("gids")
        self.warnings: list[str] = []
        self._root = self._proc = self._devpts = -1
        self._unowned: list[int] = []
        self._gifts: list[Gift] = []
        self._late: list[int] = []  # mounts that are made read-only when all that belongs into them is there
        if not plan.get("rootfs"):
            self._bind_root()

    def _bind_root(self) -> None:
        """A root directory that nobody mounted is bound onto itself: only a mount can become the root."""
        fd = clone_tree(self.target, MountOptions(["rbind"]))
        place = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        attach(fd, place, self.target)
        os.close(place)
        os.close(fd)

    def build(self, accounts: dict[str, Any] | None = None) -> None:
        """Mount everything that the configuration names beneath the root, which is mounted by now. `accounts`: what the
        image's own /etc/passwd and /etc/group are to have (rootless.runtime.accounts)."""
        try:
            self._root = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RootlessError(f"opening the root file system {self.target}: {error.strerror}") from None
        linux = self._config.get("linux") or {}
        if accounts:
            from rootless.runtime.accounts import add_accounts

            self.warnings += add_accounts(self._root, self._config["process"].get("cwd") or "/", accounts)
        for mount in self._config.get("mounts") or []:
            self._mount(mount)
        for device in linux.get("devices") or []:
            self._add_device(device["path"])
        if linux.get("sysctl"):
            proc = self._proc if self._proc >= 0 else os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            set_sysctls(proc, linux["sysctl"])
        if self._init_source:
            self._bind_file(clone_tree(self._init_source, MountOptions(["bind", "ro"])), INIT_PATH)
        self._make_working_directory()
        freeze_paths(self._root, linux.get("readonlyPaths") or [])
        mask_paths(self._root, linux.get("maskedPaths") or [])

    def _mount(self, mount: dict[str, Any]) -> None:
        path: str = mount["destination"]
        options = MountOptions(mount.get("options") or [])
        fstype: str = mount.get("type") or "none"
        special = mount.get("rootless")
        late = options.attributes & MOUNT_ATTR_RDONLY and (path == "/dev" or (options.copy_up and not options.bind))
        if late:
            options.attributes &= ~MOUNT_ATTR_RDONLY
        if special is not None and "secrets" in special:
            from rootless.runtime.secrets import secrets_tree

            fd = secrets_tree(path, special["secrets"])
        elif options.bind or fstype == "bind":
            if special is None:
                fd = clone_tree(self._source(mount), options)
            else:
                from rootless.runtime.special import special_tree

                fd = special_tree(self._source(mount), options, special)
        else:
            fd = self._new_file_system(fstype, mount.get("source"), options, path)
        try:
            no_links = fstype in _KERNEL_TYPES or path == "/dev"
            if options.bind and (options.copy_up or options.first_use):
                self._fill_volume(self._source(mount), path, options)
            if options.copy_up and not options.bind:
                from rootless.runtime.copyup import copy_up

                copy_up(self._root, fd, path, options.dress)
            if special is not None and "idmap" in special and not options.bind:
                from rootless.runtime.special import map_ids

                map_ids(fd, f"{fstype} on {path}", special["idmap"])
            place = mount_point(self._root, path, is_directory(fd), no_links)
            self._check_place(place, path)
            attach(fd, place, path)
            os.close(place)
            if special is not None:
                self._treat(mount, fd, special)
            if late:
                self._late.append(os.dup(fd))
            if path == "/dev" and fstype == "tmpfs":
                fill_dev(fd)
            elif fstype == "proc" and path == "/proc":
                self._proc = os.dup(fd)
            elif fstype == "devpts":
                self._devpts = os.dup(fd)
        finally:
            os.close(fd)

    def _check_place(self, place: int, path: str) -> None:
        """Raise ImageError where links of the image have led from `path` to a place of ours."""
        root, found = (os.readlink(f"/proc/self/fd/{fd}") for fd in (self._root, place))
        found = found.removeprefix(root) or "/"
        if found in _OURS and found != os.path.normpath(path):
            raise ImageError(
                f"mounting on {path}: in the image that is a symbolic link to {found}",
                "mount it somewhere else, or on that path itself",
            )

    def _fill_volume(self, source: str, path: str, options: MountOptions) -> None:
        from rootless.runtime.copyup import fill_volume

        unowned = fill_volume(self._root, source, path, options)
        if unowned is not None:
            self._unowned.append(unowned)

    def _treat(self, mount: dict[str, Any], fd: int, special: dict[str, Any]) -> None:
        """Label what is mounted, and remember what the container's user is to own."""
        if special.get("owner"):
            from rootless.runtime.owners import own

            own(fd, str(mount["source"]), *special["owner"])
        if special.get("relabel"):
            from rootless.runtime.owners import relabel

            relabel(fd, str(mount["source"]))
        if special.get("chown"):
            from rootless.runtime.owners import Gift

            self._gifts.append(Gift(fd, str(mount["source"])))

    def give(self, uid: int, gid: int) -> None:
        """Give to the container's user what was mounted to be his (`U`), and new volumes, where the image has no
        directory to take the owner from. Raises RootlessError."""
        for gift in self._gifts:
            gift.give(uid, gid)
        for fd in self._unowned:
            try:
                os.fchown(fd, uid, gid)
            except OSError:
                pass  # an id that is not mapped: becoming this user says so
            os.close(fd)

    def _make_working_directory(self) -> None:
        """An image may name a working directory that it lacks: it gets one, as with Docker and crun."""
        try:
            os.close(mount_point(self._root, self._config["process"].get("cwd") or "/", directory=True))
        except ImageError:
            pass  # entering it will say what is wrong

    def _source(self, mount: dict[str, Any]) -> str:
        source = mount.get("source")
        if not source:
            raise RootlessError(f"mounting on {mount['destination']}: it has no source")
        return str(source)

    def _new_file_system(self, fstype: str, source: str | None, options: MountOptions, path: str) -> int:
        if fstype == "cgroup":
            # Also on hosts with version 1: its hierarchies are nobody's to limit here, and show the host's groups.
            fstype = "cgroup2"
        if fstype == "devpts":
            options.data = [(key, value) for key, value in options.data if key != "gid" or self._has_gid(value)]
        try:
            return make_or_borrow(fstype, source, options, self.warnings)
        except SyscallError as error:
            raise RootlessError(f"mounting {fstype} on {path}: {error.message}", error.hint) from None

    def _has_gid(self, value: str | None) -> bool:
        """Whether a group exists in this user namespace: with one id mapped, terminals cannot belong to group tty."""
        if self._mapped_gids is None or value is None or not value.isdigit():
            return True
        return any(inside <= int(value) < inside + count for inside, _, count in self._mapped_gids)

    def _add_device(self, path: str) -> None:
        self._bind_file(clone_device(path), path)

    def _bind_file(self, fd: int, path: str) -> None:
        place = mount_point(self._root, path, False)
        attach(fd, place, path)
        os.close(place)
        os.close(fd)

    def open_console(self) -> Console:
        """A terminal of the container's own devpts, which is /dev/console too. Raises RootlessError."""
        if self._devpts < 0:
            raise RootlessError("making the container's terminal: it has no devpts mount")
        from rootless.runtime.console import Console

        console = Console(self._devpts, self._config["process"].get("consoleSize"))
        slave = open_tree(console.slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE)
        self._bind_file(slave, "/dev/console")
        return console

    def enter(self) -> None:
        """Make it the root of this mount namespace and let go of the host's tree."""
        for fd in self._late:
            mount_setattr(fd, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)
            os.close(fd)
        if (self._config.get("root") or {}).get("readonly"):
            mount_setattr(self._root, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY)
        os.fchdir(self._root)
        try:
            pivot_root(".", ".")
        except SyscallError as error:
            raise ImageError(f"entering the root file system {self.target}: {error.message}") from None
        umount(".", MNT_DETACH)  # the host's tree, which lies on top of ours now
        os.chdir("/")
        for fd in (self._root, self._proc, self._devpts):
            if fd >= 0:
                os.close(fd)
