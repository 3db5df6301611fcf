"""Compressing layers that have no blob: loaded, imported, committed. Each is rebuilt and packed by a child of its own.

The same layer gives the same bytes: gzip without a name and a time, one thread, fixed levels.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import zlib
from collections.abc import Callable
from typing import Any

from rootless.errors import StorageError, UsageError
from rootless.faults import step
from rootless.kernel.files import sync_path, write_all
from storage import compress
from storage.database import transaction
from storage.documents.write import OCI_LAYER
from storage.lease import Lease
from storage.tar.record import rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.store import Store

_LEVELS = {compress.GZIP: range(1, 10), compress.ZSTD: range(1, 23)}
_ZSTD_LEVEL = 3
_MOST_TURNS = 8


def check_level(packing: str, level: int | None) -> None:
    """Raises UsageError for a level that the compression does not have."""
    levels = _LEVELS[packing]
    if level is not None and level not in levels:
        raise UsageError(f"--compression-level {level}: {packing} has the levels {levels[0]} to {levels[-1]}")


class Turns:
    """So many children work at a time; the others wait for their turn. A pipe with a byte for each that may begin."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.write(self.writer, bytes(min(len(os.sched_getaffinity(0)), _MOST_TURNS)))

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class Packing:
    """One layer that is being packed into a file in tmp/, locked as long as it is being written.

    `packing`: GZIP or ZSTD, or NONE for the tar as it is. `finish` tells `digest` (hex) and `size` of what `path` has.
    Start it before there are threads: it forks.
    """

    def __init__(self, store: Store, diff_id: str, packing: str, level: int | None, turns: Turns) -> None:
        self.diff_id = diff_id
        self.packing = packing
        self.digest = ""
        self.size = 0
        self.path = f"{store.layout.tmp}/blob-{os.urandom(8).hex()}"
        self._store = store
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"making {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            compress.preload(None)
            layer = os.open(store.layout.layer(store.layers.name(diff_id)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            kept = [layer, self._descriptor, turns.reader, turns.writer]
            try:
                self._child = store.user_namespace().spawn(_pack, *kept, packing, level, keep_fds=kept)
            finally:
                os.close(layer)
        except BaseException:
            os.close(self._descriptor)
            os.unlink(self.path)
            raise

    def finish(self) -> None:
        """Wait for the child; `digest` and `size` are known then. Raises StorageError: a damaged layer, a full disk."""
        try:
            found, self.digest, self.size = self._child.result()
        except OSError as error:
            raise StorageError(
                f"compressing the layer {self.diff_id[:12]}: {error.strerror}",
                "free space where the store is, or choose another with --root",
            ) from None
        if found != self.diff_id:
            raise StorageError(
                f"compressing the layer {self.diff_id[:12]}: its files were changed (they make sha256:{found[:12]})",
                "remove the image and pull or load it again",
            )

    def keep(self) -> None:
        """Put it among the blobs, on the disk, as the lease that the caller holds protects it there."""
        target = self._store.layout.blob(self.digest)
        try:
            os.fsync(self._descriptor)
            os.rename(self.path, target)
        except OSError as error:
            raise StorageError(f"storing the blob {self.digest[:12]}: {error.strerror}") from None
        self.path = target
        sync_path(self._store.layout.blobs)

    def drop(self) -> None:
        """End the child, and remove what was not kept."""
        self._child.kill()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self.path.startswith(self._store.layout.tmp):
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass


def keep_for_layer(store: Store, lease: Lease, packing: Packing) -> None:
    """Put what has been packed among the blobs; it is the layer's from now on where that had none."""
    lease.protect([packing.digest])
    step("blob-packed")
    packing.keep()
    step("blob-kept")
    with transaction(store.db, durable=True) as db:
        db.execute(
            "UPDATE layers SET blob = ?, blob_size = ?, media_type = ? WHERE diff_id = ? AND blob IS NULL",
            (packing.digest, packing.size, f"{OCI_LAYER}+{packing.packing}", packing.diff_id),
        )


def _pack(layer: int, output: int, turn: int, done: int, packing: str, level: int | None) -> tuple[str, str, int]:
    """The child: (digest of the tar, digest of what was written, its length); digests in hex."""
    os.read(turn, 1)
    try:
        return _pack_now(layer, output, packing, level)
    finally:
        os.write(done, b"\0")


def _pack_now(layer: int, output: int, packing: str, level: int | None) -> tuple[str, str, int]:
    plain, packed = hashlib.sha256(), hashlib.sha256()
    length = 0

    def put(data: bytes) -> None:
        nonlocal length
        if data:
            packed.update(data)
            length += len(data)
            write_all(output, data)

    more, end = _compressor(packing, level)

    def write(data: memoryview) -> None:
        plain.update(data)
        put(more(data))

    rebuild(layer, write)
    put(end())
    return plain.hexdigest(), packed.hexdigest(), length


def _compressor(packing: str, level: int | None) -> tuple[Callable[[memoryview], bytes], Callable[[], bytes]]:
    """What compresses a piece, and what ends the stream."""
    made: Any
    if packing == compress.ZSTD:
        import zstandard

        made = zstandard.ZstdCompressor(level=level or _ZSTD_LEVEL, write_checksum=True).compressobj()
    elif packing == compress.GZIP and level is not None:
        made = zlib.compressobj(level, zlib.DEFLATED, 31)
    elif packing == compress.GZIP:
        from isal import isal_zlib

        made = isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION, isal_zlib.DEFLATED, 31)
    else:
        return bytes, bytes
    return made.compress, made.flush
