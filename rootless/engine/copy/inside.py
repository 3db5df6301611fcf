"""A container's end of a copy: how its files are reached, and kept from changing their ways meanwhile."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rootless.engine import records
from rootless.engine.bundle import COPY_UP, read_config
from rootless.engine.files.mount_marks import refuse_mounted
from rootless.engine.files.mounted import rootfs_of
from rootless.engine.records import Container
from rootless.engine.recover import find, need_here, settled
from rootless.errors import ConflictError, NotFoundError, RootlessError
from rootless.jsontext import loads
from rootless.kernel.files import lock_file
from rootless.kernel.namespaces import open_namespace
from rootless.kernel.pidfd import open_if_same
from rootless.kernel.userns import Child, UserNamespace
from storage.drivers import WHOLE
from storage.store import Store

_PATIENCE = 60.0  # seconds


class End:
    """One end of a copy. `container`: a name or id, or None for the host; `path`: "-" on the host is a tar stream on
    standard input or output. Paths of a container that are not absolute begin at its working directory."""

    def __init__(self, container: str | None, path: str) -> None:
        self.container = container
        self.path = os.fsencode(path)

    def __str__(self) -> str:
        path = os.fsdecode(self.path)
        return path if self.container is None else f"{self.container}:{path}"

    @property
    def is_stream(self) -> bool:
        return self.container is None and self.path == b"-"


class Inside:
    """A container's end of a copy. `path` is absolute in it, `user` who its files are to belong to."""

    def __init__(self, store: Store, end: End, writes: bool, stack: ExitStack, doing: str) -> None:
        assert end.container is not None
        self._store = store
        self._keep: list[int] = []
        self._stack = stack
        container = settled(store, find(store, end.container))
        need_here(container, "copying files of")
        if not container.alive:
            container = self._lock(container, writes or not container.started, doing)
        config = read_config(store.layout.container(container.id))
        self.container = container
        self.user: str = loads(container.request).get("user") or ""
        self._directory = os.fsencode(config["process"]["cwd"] or "/")
        self.path = self.resolve(end.path)
        if container.alive:
            self._of_running(container)
        else:
            self._of_stopped(container, config, writes or not container.started)

    def resolve(self, path: bytes) -> bytes:
        """A path of this container's as an absolute one."""
        return os.path.join(self._directory, path)

    def spawn(self, work: Callable[..., object], fd: int, *args: object) -> Child:
        """Start `work(order, fd, ...)` in the child that may reach the files."""
        keep = [*self._keep, *([fd] if fd > 2 else [])]
        return self._namespace.spawn(work, self._order, fd, *args, mount_ns="pid" not in self._order, keep_fds=keep)

    def _lock(self, container: Container, exclusive: bool, doing: str) -> Container:
        """Keep a container from being started until the copy is done; the container as it is then, perhaps running."""
        fd = -1
        deadline = time.monotonic() + _PATIENCE
        try:
            path = f"{self._store.layout.container(container.id)}/config.json"
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._stack.callback(os.close, fd)
            while not lock_file(fd, exclusive=exclusive, blocking=False):
                container = settled(self._store, find(self._store, container.id))
                if container.alive:
                    return container
                if container.state == records.RESTARTING or time.monotonic() > deadline:
                    why = "it is about to be started again" if container.monitor_pid else "another command is at it"
                    raise ConflictError(f"{doing}: {why}", f"rootless stop {container.name}")
                time.sleep(0.05)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise NotFoundError(f"container {container.name}: its files are not there (any more)") from None
            if fd < 0:
                raise RootlessError(f"{doing}: {error.strerror}") from None
            # a file system without locks
        return find(self._store, container.id)

    def _of_running(self, container: Container) -> None:
        pidfd = open_if_same(container.pid, container.pid_start, container.boot_id)
        if pidfd is None:
            raise ConflictError(f"copying: {container.name} has just ended", "try again")
        self._stack.callback(os.close, pidfd)
        try:
            self._namespace = UserNamespace.from_fd(open_namespace(container.pid, "user"))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise ConflictError(
                    f"copying files of {container.name}: it was started outside of the user namespace that we are in",
                    "do that there: outside of `rootless unshare`, or of the container around us",
                ) from None
            raise ConflictError(f"copying: {container.name} has just ended", "try again") from None
        self._stack.callback(self._namespace.close)
        self._keep.append(pidfd)
        self._order: dict[str, Any] = {"pid": container.pid, "pidfd": pidfd, "name": container.name}

    def _of_stopped(self, container: Container, config: dict[str, Any], writable: bool) -> None:
        store = self._store
        if writable and container.driver not in WHOLE:
            refuse_mounted(store, store.layout.container(container.id), container.name, "copying into")
        mounts = [mount for mount in config["mounts"] if _holds_files(mount)]
        images: list[tuple[dict[str, Any], str]] = []
        if mounts:
            from rootless.engine.volumes.start import ready_mounts

            copied = config["annotations"].get(COPY_UP)
            ready = ready_mounts(store, container.id, container.driver, mounts, copied.split("\n") if copied else [])
            mounts, images = [mount for mount in ready.mounts if mount["type"] == "bind"], ready.images
            for claim in ready.claims:
                self._stack.push(lambda kind, *_, claim=claim: claim.release(used=kind is None))
        mounts.sort(key=lambda mount: str(mount["destination"]).strip("/").count("/"))
        self._namespace = store.user_namespace()
        self._order = {
            "rootfs": rootfs_of(store, container, not writable),
            "images": images,
            "target": config["root"]["path"],
            "mounts": mounts,
            "writable": writable,
            "read_only": bool(config["root"].get("readonly")),
            "owner": self.user if writable else None,
        }


def _holds_files(mount: dict[str, Any]) -> bool:
    """Whether a mount of a container that does not run has files: what is in memory has gone with its processes."""
    if mount["type"] == "image":
        return True
    return mount["type"] == "bind" and bool(mount["source"]) and os.path.exists(mount["source"])
