"""The content store: files named by the SHA-256 of what they hold (manifests, configs, compressed layers)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from types import TracebackType

from rootless.errors import ImageError, StorageError
from rootless.faults import step
from rootless.kernel.files import sync_path
from storage.layout import Layout

_CHUNK = 1 << 20
_PART = ".partial"
RESUMABLE_SECONDS = 7 * 24 * 3600  # so long is what an interrupted pull has left kept for the next one


class BlobWriter:
    """Writes one blob, as a context manager: `write` its bytes, then `commit`; without that nothing is stored.

    `digest` (hex) is what the bytes must have, or None where that is to be found out. With `resume` an earlier attempt
    is taken up: `size` tells how many bytes are here already (they are hashed anew), and what is there when the block
    is left without `commit` stays for the next attempt. Only one writer takes up an attempt at a time, another one of
    the same digest begins its own.
    """

    def __init__(self, layout: Layout, digest: str | None = None, resume: bool = False) -> None:
        self._layout = layout
        self._digest = digest
        self._hash = hashlib.sha256()
        self._done = False
        self.size = 0
        self._fd = -1
        self._keep = False
        try:
            if resume and digest is not None:
                self._take_up(_part(layout, digest))
            if self._fd < 0:
                self._path = f"{layout.tmp}/blob-{os.urandom(8).hex()}"
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            raise StorageError(f"storing a blob: {error.filename}: {error.strerror}") from None

    def _take_up(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # whoever held it may have renamed or removed it in the meantime
            if not os.path.samestat(os.fstat(fd), os.stat(path)):
                raise FileNotFoundError
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            return
        self._path, self._fd, self._keep = path, fd, True
        while data := os.read(fd, _CHUNK):
            self._hash.update(data)
            self.size += len(data)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd < 0:
            return
        if not self._done and not (self._keep and self.size):
            os.unlink(self._path)
        os.close(self._fd)
        self._fd = -1

    def write(self, data: bytes | memoryview) -> None:
        """Append to the blob. Raises StorageError where the disk is full."""
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._fd, view)
                self.size += done
                view = view[done:]
        except OSError as error:
            raise StorageError(
                f"storing a blob: {error.strerror}", "free space where the store is, or choose another with --root"
            ) from None

    def restart(self) -> None:
        """Forget what is here: the other side does not go on where an earlier attempt ended."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    def read_back(self, offset: int) -> bytes:
        """Up to a mebibyte of what was written from `offset` on: an earlier attempt, for those who stream the blob."""
        return os.pread(self._fd, min(_CHUNK, max(0, self.size - offset)), offset)

    def commit(self) -> str:
        """Put the blob in its place, on the disk; returns its digest (hex). A wrong digest is an ImageError."""
        digest = self._hash.hexdigest()
        if self._digest is not None and digest != self._digest:
            self._keep = False
            raise ImageError(f"storing the blob sha256:{self._digest}: the content is sha256:{digest}")
        target = self._layout.blob(digest)
        try:
            os.fsync(self._fd)
            os.rename(self._path, target)
            self._done = True
            sync_path(self._layout.blobs)
            step("blob-stored")
        except OSError as error:
            raise StorageError(f"storing the blob {digest[:12]}: {error.strerror}") from None
        if not self._keep:
            remove_part(self._layout, digest)
        return digest


def has_blob(layout: Layout, digest: str) -> bool:
    """Whether the blob `digest` (hex) is here."""
    return os.path.isfile(layout.blob(digest))


def open_blob(layout: Layout, digest: str) -> int:
    """A descriptor for reading the blob `digest` (hex). Raises StorageError where there is none."""
    try:
        return os.open(layout.blob(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"reading the blob {digest[:12]}: {error.strerror}") from None


def remove_blob(layout: Layout, digest: str) -> None:
    """Delete the blob `digest` (hex) where there is one."""
    try:
        os.unlink(layout.blob(digest))
    except FileNotFoundError:
        pass


def remove_part(layout: Layout, digest: str) -> None:
    """Delete what an interrupted pull has left of the blob `digest` (hex), which nobody needs any more."""
    remove_unlocked(_part(layout, digest))


def remove_parts(layout: Layout, age: float) -> None:
    """Delete what interrupted pulls have left of any blob and nobody has touched for `age` seconds."""
    for name in os.listdir(layout.tmp):
        if name.endswith(_PART):
            remove_unlocked(f"{layout.tmp}/{name}", age)


def remove_unlocked(path: str, age: float = 0) -> None:
    """Unlink a half-written blob that no process has locked and nobody has touched for `age` seconds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_mtime <= time.time() - age:
            os.unlink(path)
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        os.close(descriptor)


def _part(layout: Layout, digest: str) -> str:
    return f"{layout.tmp}/{digest}{_PART}"
