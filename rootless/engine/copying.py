"""`cp`: files between the host and containers, or between two containers.

    host side (we, with our own rights) --- tar stream --- container side (a child, root over the container's ids)

A container that runs is entered by its user namespace only, and its files are reached through /proc/PID/root. One that
does not is mounted, with its volumes, in a mount namespace of the child's; a lock on its configuration (`bundle.hold`
waits for it) keeps it from being started meanwhile where something is written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rootless.engine import records
from rootless.engine.bundle import COPY_UP, read_config
from rootless.engine.copy_pack import Packer
from rootless.engine.copy_place import Place, open_place
from rootless.engine.copy_unpack import Unpacker
from rootless.engine.mounted import rootfs_of
from rootless.engine.records import Container
from rootless.engine.recover import find, need_here, settled
from rootless.errors import ConflictError, NotFoundError, RootlessError, UsageError
from rootless.jsontext import loads
from rootless.kernel.files import lock_file
from rootless.kernel.namespaces import open_namespace
from rootless.kernel.pidfd import open_if_same
from rootless.kernel.userns import Child, UserNamespace
from storage import compress
from storage.store import Store

_PATIENCE = 60.0  # seconds
_PIPE = 1 << 20
_READ = 1 << 20
_NOBODY = 65534
_TOP = b"top"

Tell = Callable[[str], None]


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


def copy(store: Store, source: End, target: End, tell: Tell, to_user: bool = True, overwrite: bool = False) -> None:
    """Copy the file or directory `source` to `target`, by the rules of `podman cp`.

    What is made in a container belongs to its user with `to_user`, else to the same ids as at the source. `overwrite`:
    see Unpacker. `tell` is given a warning where something was left out. Raises NotFoundError, ConflictError,
    UsageError, RootlessError.
    """
    doing = f"copying {source} to {target}"
    with ExitStack() as stack:
        reading = None if source.container is None else _Inside(store, source, False, stack, doing)
        writing = None if target.container is None else _Inside(store, target, True, stack, doing)
        if source.is_stream:
            assert writing is not None
            compress.preload()
            owner = writing.user if to_user else None
            skipped = writing.spawn(_extract, 0, writing.path, owner, overwrite, doing).result()
        elif target.is_stream:
            assert reading is not None
            name = b"" if _means_contents(source.path) else _base_name(reading.path)
            reading.spawn(_pack, 1, reading.path, name, doing).result()
            skipped = 0
        else:
            skipped = _through_a_pipe(store, source, target, reading, writing, to_user, overwrite, doing)
    if skipped:
        tell(f"{doing}: {skipped} device{'s were' if skipped > 1 else ' was'} left out: users cannot make any")


def _through_a_pipe(
    store: Store,
    source: End,
    target: End,
    reading: _Inside | None,
    writing: _Inside | None,
    to_user: bool,
    overwrite: bool,
    doing: str,
) -> int:
    path = reading.path if reading is not None else source.path
    base = b"" if _means_contents(source.path) else _base_name(path)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:  # the user's pipes have used up what they may
        pass
    packing = None if reading is None else reading.spawn(_pack, writer, path, _TOP, doing)
    unpacking = None
    if writing is not None:
        owner = writing.user if to_user else None
        unpacking = writing.spawn(_put, reader, writing.path, base, owner, overwrite, doing)
    failure: Exception | None = None
    skipped = 0
    try:
        if unpacking is not None:
            os.close(reader)
            reader = -1
        if packing is not None:
            os.close(writer)
            writer = -1
        else:
            Packer(Place(), writer, doing, _ids_inside(store)).pack(path, _TOP)
            os.close(writer)
            writer = -1
        if unpacking is None:
            unpacker = Unpacker(Place(), doing, None, overwrite)
            unpacker.put(lambda: os.read(reader, _READ), target.path, base)
            skipped = unpacker.skipped
    except BrokenPipeError:
        pass  # the other end says why
    except Exception as error:
        failure = error
    finally:
        for fd in (reader, writer):
            if fd >= 0:
                os.close(fd)
    failures = [failure, *(_failure_of(child) for child in (packing,))]
    if unpacking is not None:
        try:
            skipped = unpacking.result()
        except RootlessError as error:
            failures.append(error)
    told = [error for error in failures if error is not None and not isinstance(error, BrokenPipeError)]
    if told:
        raise told[0]
    return skipped


def _failure_of(child: Child | None) -> Exception | None:
    try:
        if child is not None:
            child.result()
    except (RootlessError, OSError) as error:
        return error
    return None


def _means_contents(path: bytes) -> bool:
    """Whether the contents of a directory are meant, and not the directory."""
    return path.rstrip(b"/") == b"" or path == b"." or path.endswith(b"/.")


def _base_name(path: bytes) -> bytes:
    return os.path.basename(os.path.abspath(path))


def _ids_inside(store: Store) -> Callable[[int, int], tuple[int, int]]:
    """What the owner of a file of the host is inside: we are root, and whoever has no id there is nobody."""

    def translated(uid: int, gid: int) -> tuple[int, int]:
        return _inside(store.user_map.uids, uid), _inside(store.user_map.gids, gid)

    return translated


def _inside(ranges: Sequence[tuple[int, int, int]], number: int) -> int:
    for inside, outside, count in ranges:
        if outside <= number < outside + count:
            return inside + number - outside
    return _NOBODY


def _same(uid: int, gid: int) -> tuple[int, int]:
    return uid, gid


# What the children do


def _pack(order: dict[str, Any], out: int, path: bytes, name: bytes, doing: str) -> None:
    Packer(open_place(order), out, doing, _same).pack(path, name)


def _put(
    order: dict[str, Any], source: int, path: bytes, base: bytes, user: str | None, overwrite: bool, doing: str
) -> int:
    place = open_place(order)
    unpacker = Unpacker(place, doing, None if user is None else place.owner(user), overwrite)
    unpacker.put(lambda: os.read(source, _READ), path, base)
    return unpacker.skipped


def _extract(order: dict[str, Any], source: int, path: bytes, user: str | None, overwrite: bool, doing: str) -> int:
    place = open_place(order)
    unpacker = Unpacker(place, doing, None if user is None else place.owner(user), overwrite)
    pieces = compress.decompress(lambda: os.read(source, _READ))
    unpacker.extract(lambda: next(pieces, b""), path)
    return unpacker.skipped


class _Inside:
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
        self.user: str = loads(container.request).get("user") or ""
        self.path = os.path.join(os.fsencode(config["process"]["cwd"] or "/"), end.path)
        if container.alive:
            self._of_running(container)
        else:
            self._of_stopped(container, config, writes or not container.started)

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
        except OSError:
            raise ConflictError(f"copying: {container.name} has just ended", "try again") from None
        self._stack.callback(self._namespace.close)
        self._keep.append(pidfd)
        self._order: dict[str, Any] = {"pid": container.pid, "pidfd": pidfd, "name": container.name}

    def _of_stopped(self, container: Container, config: dict[str, Any], writable: bool) -> None:
        store = self._store
        mounts = [mount for mount in config["mounts"] if _holds_files(mount)]
        images: list[tuple[dict[str, Any], str]] = []
        if mounts:
            from rootless.engine.volume_start import ready_mounts

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


def parse_ends(store: Store, source: str, target: str) -> tuple[End, End]:
    """What the two arguments of `cp` mean. Raises UsageError where no container is among them."""
    ends = _parse(store, source, True), _parse(store, target, False)
    if ends[0].container is None and ends[1].container is None:
        raise UsageError(f"cp {source} {target}: one of them must be in a container", "write it as CONTAINER:PATH")
    for end in ends:
        if not end.path:
            raise UsageError(f"cp {source} {target}: a path is empty")
    return ends


def _parse(store: Store, text: str, is_source: bool) -> End:
    name, colon, path = text.partition(":")
    if text == "-" or not colon or not name or "/" in name or text.startswith("."):
        return End(None, text)
    if os.path.lexists(text if is_source else os.path.dirname(text) or text):
        try:
            records.find(store.db, name)
        except NotFoundError:
            return End(None, text)  # a file of the host's with a colon in its name
    return End(name, path)
