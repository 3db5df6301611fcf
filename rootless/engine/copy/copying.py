"""`cp`: files between the host and containers, or between two containers.

    host side (we, with our own rights) --- tar stream --- container side (a child, root over the container's ids)

A container that runs is entered by its user namespace only, and its files are reached through /proc/PID/root. One that
does not is mounted, with its volumes, in a mount namespace of the child's; a lock on its configuration (`bundle.hold`
waits for it) keeps it from being started meanwhile where something is written.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rootless.engine import records
from rootless.engine.copy.inside import End, Inside
from rootless.engine.copy.pack import Packer
from rootless.engine.copy.place import Place, open_place
from rootless.engine.copy.unpack import Unpacker
from rootless.engine.events import container_event
from rootless.errors import NotFoundError, RootlessError, UsageError
from rootless.kernel.userns import Child
from storage import compress
from storage.store import Store

_PIPE = 1 << 20
_READ = 1 << 20
_NOBODY = 65534
_TOP = b"top"

Tell = Callable[[str], None]


def copy(store: Store, source: End, target: End, tell: Tell, to_user: bool = True, overwrite: bool = False) -> None:
    """Copy the file or directory `source` to `target`, by the rules of `podman cp`.

    What is made in a container belongs to its user with `to_user`, else to the same ids as at the source. `overwrite`:
    see Unpacker. `tell` is given a warning where something was left out. Raises NotFoundError, ConflictError,
    UsageError, RootlessError.
    """
    doing = f"copying {source} to {target}"
    with ExitStack() as stack:
        if source.container is not None and target.container is not None and _is_one(store, source, target):
            inside = Inside(store, target, True, stack, doing)
            owner = inside.user if to_user else None
            path = inside.resolve(source.path)
            base = b"" if _means_contents(source.path) else _base_name(path)
            _tell_skipped(
                inside.spawn(_within, -1, path, inside.path, base, owner, overwrite, doing).result(), doing, tell
            )
            container_event(store, inside.container, "copy")
            return
        reading = None if source.container is None else Inside(store, source, False, stack, doing)
        writing = None if target.container is None else Inside(store, target, True, stack, doing)
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
    _tell_skipped(skipped, doing, tell)
    for end in (reading, writing):
        if end is not None:
            container_event(store, end.container, "copy")


def _tell_skipped(skipped: int, doing: str, tell: Tell) -> None:
    if skipped:
        tell(f"{doing}: {skipped} device{'s were' if skipped > 1 else ' was'} left out: users cannot make any")


def _is_one(store: Store, source: End, target: End) -> bool:
    """Whether both ends are in the same container: its files can be mounted once only."""
    assert source.container is not None
    assert target.container is not None
    return records.find(store.db, source.container).id == records.find(store.db, target.container).id


def _through_a_pipe(
    store: Store,
    source: End,
    target: End,
    reading: Inside | None,
    writing: Inside | None,
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


def _within(
    order: dict[str, Any],
    _: int,
    path: bytes,
    target: bytes,
    base: bytes,
    user: str | None,
    overwrite: bool,
    doing: str,
) -> int:
    """From one place of a container to another, with a thread at the other end of the pipe."""
    place = open_place(order)
    if place.holds(path, target):
        raise UsageError(f"{doing}: a directory cannot be copied into itself")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    failures: list[Exception] = []

    def pack() -> None:
        try:
            Packer(place, writer, doing, _same).pack(path, _TOP)
        except BrokenPipeError:
            pass
        except Exception as error:
            failures.append(error)
        finally:
            os.close(writer)

    thread = threading.Thread(target=pack)
    thread.start()
    unpacker = Unpacker(place, doing, None if user is None else place.owner(user), overwrite)
    try:
        unpacker.put(lambda: os.read(reader, _READ), target, base)
    finally:
        os.close(reader)
        thread.join()
        if failures:
            raise failures[0]
    return unpacker.skipped


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
