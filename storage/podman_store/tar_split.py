"""Rebuilding a layer's tar from tar-split (github.com/vbatts/tar-split), the record that containers/storage keeps.

A gzip stream of JSON lines: {"type": 2, "payload": base64} are bytes of the tar as they were, {"type": 1, "name" or
"name_raw" (base64), "size"} the content of a file.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterator
from json import loads

from rootless.errors import StorageError
from rootless.kernel.files import RESOLVE_IN_ROOT, openat2, write_all
from storage.compress import CHUNK, decompress

_FILE = 1
_RAW = 2
_LONGEST_LINE = 1 << 26  # held in memory; what follows the end of a tar is one line in old records
_BUFFER = 1 << 18


def rebuild(split_fd: int, diff_fd: int, out_fd: int) -> int:
    """Write the tar that `split_fd` describes to `out_fd`, with the files below `diff_fd`; how many bytes those were.

    Runs where all files can be read: in the mapped user namespace. Whoever reads the tar checks its digest. Raises
    StorageError; BrokenPipeError where nobody reads it any more.
    """
    total = 0
    buffer = memoryview(bytearray(_BUFFER))
    for line in _lines(split_fd):
        try:
            entry = loads(line)
            kind = entry["type"]
            data = b64decode(entry.get("payload") or "") if kind == _RAW else b""
            size = int(entry.get("size") or 0)
            name = b64decode(entry["name_raw"]) if entry.get("name_raw") else str(entry.get("name") or "").encode()
            if b"\0" in name:
                raise ValueError("no name has a NUL")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise StorageError("reading a layer of Podman's: its tar-split file is damaged") from None
        if kind == _RAW:
            write_all(out_fd, data)
            total += len(data)
        elif kind == _FILE and size:
            _copy(diff_fd, name, size, out_fd, buffer)
            total += size
    return total


def _lines(split_fd: int) -> Iterator[bytes]:
    rest = bytearray()
    for piece in decompress(lambda: os.read(split_fd, CHUNK)):
        first, *others = piece.split(b"\n")
        rest += first
        if len(rest) > _LONGEST_LINE:
            raise StorageError("reading a layer of Podman's: its tar-split file is damaged")
        for other in others:
            if rest:
                yield bytes(rest)
            rest = bytearray(other)
    if rest:
        yield bytes(rest)


def _copy(diff_fd: int, name: bytes, size: int, out_fd: int, buffer: memoryview) -> None:
    try:
        fd = openat2(diff_fd, name.lstrip(b"/"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, resolve=RESOLVE_IN_ROOT)
    except OSError as error:
        raise StorageError(f"reading a layer of Podman's: {os.fsdecode(name)}: {error.strerror}") from None
    try:
        while size:
            count = os.readv(fd, [buffer[: min(size, _BUFFER)]])
            if not count:
                raise StorageError(f"reading a layer of Podman's: {os.fsdecode(name)} is shorter than it was")
            write_all(out_fd, buffer[:count])
            size -= count
    finally:
        os.close(fd)
