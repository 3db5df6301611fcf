"""Looking at layers and blobs in children of the user namespace, a few side by side, each with bounded memory."""

from __future__ import annotations

import hashlib
import os
import select
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rootless.errors import RootlessError
from rootless.kernel.userns import Child, UserNamespace
from storage.layers import child as layer_child
from storage.tar.reader import TarReader
from storage.tar.record import headers_only
from storage.tar.record import rebuild as rebuild_tar
from storage.upkeep.check.compare import Comparison
from storage.upkeep.check.replay import replay

MOST_LINES = 20  # of what is wrong with one layer; the others are counted
_MOST_AT_ONCE = 4
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """What one child does: `function(descriptor, *arguments)`, with `path` open as the descriptor."""

    name: str
    path: str
    flags: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def do_all(namespace: UserNamespace, tasks: Iterable[Task]) -> Iterator[tuple[Task, Any]]:
    """Each task with its result, or with the RootlessError or OSError that it has ended with, as they come."""
    layer_child.preload()
    limit = min(_MOST_AT_ONCE, len(os.sched_getaffinity(0)))
    waiting = iter(tasks)
    running: dict[int, tuple[Child, Task]] = {}
    poll = select.poll()
    more = True
    try:
        while True:
            while more and len(running) < limit:
                task = next(waiting, None)
                if task is None:
                    more = False
                    break
                try:
                    child = _start(namespace, task)
                except (OSError, RootlessError) as error:
                    yield task, error
                    continue
                running[child.fileno()] = (child, task)
                poll.register(child.fileno(), select.POLLIN)
            if not running:
                return
            for number, _ in poll.poll():
                poll.unregister(number)
                child, task = running.pop(number)
                try:
                    result = child.result()
                except (RootlessError, OSError) as error:
                    result = error
                yield task, result
    finally:
        for child, _ in running.values():
            child.kill()


def _start(namespace: UserNamespace, task: Task) -> Child:
    descriptor = os.open(task.path, task.flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return namespace.spawn(task.function, descriptor, *task.arguments, keep_fds=[descriptor])
    finally:
        os.close(descriptor)


def look_at_layer(layer: int, diff_id: str, single: bool, used: bool, quick: bool) -> tuple[list[str], int, bool]:
    """In a child: what is wrong with the layer whose directory is open as `layer`, how many more things are, and
    whether its tar can be rebuilt (with `quick`: not tried). `used`: an image has it, so nothing is open any more."""
    found: list[str] = []
    more = 0
    try:
        for line in _differences(layer, single, used):
            if len(found) < MOST_LINES:
                found.append(line)
            else:
                more += 1
    except (RootlessError, OSError) as error:
        found.append(_told(error))
    if quick:
        return found, more, False
    digest = hashlib.sha256()
    try:
        rebuild_tar(layer, digest.update)
        whole = digest.hexdigest() == diff_id
        if not whole:
            found.append(f"its files make a tar with the digest sha256:{digest.hexdigest()[:12]}")
    except (RootlessError, OSError) as error:
        whole = False
        found.append(f"rebuilding its tar: {_told(error)}" if isinstance(error, OSError) else _told(error))
    return found, more, whole


def _differences(layer: int, single: bool, used: bool) -> Iterator[str]:
    record = os.open("record", os.O_RDONLY | os.O_CLOEXEC, dir_fd=layer)
    try:
        nodes = replay(TarReader(headers_only(record)))
        settled = used or not _exists("notes", layer)
    finally:
        os.close(record)
    diff = os.open("diff", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=layer)
    try:
        yield from Comparison(diff, nodes, single, settled).differences()
    finally:
        os.close(diff)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = os.fsdecode(error.filename) if error.filename else "its files"
        return f"{name}: {error.strerror}"
    return error.message if isinstance(error, RootlessError) else str(error)


def digest_of(descriptor: int) -> tuple[str, int]:
    """In a child: digest (hex) and length of an open file."""
    digest = hashlib.sha256()
    length = 0
    while data := os.read(descriptor, _CHUNK):
        digest.update(data)
        length += len(data)
    return digest.hexdigest(), length
