"""The store's layers: extracted side by side, each by a child of its own inside the mapped user namespace.

A layer is written to tmp/ and renamed to layers/<diffID> when it is whole and on the disk. It holds

    diff/      the files
    record     how to rebuild its tar (storage.tar.record)
    lost/      files that later entries of the same layer replaced, needed by the record
    notes      marshal of what only other layers can settle: hard links to lower layers, implied directories
    owners     where root does not own all of it (see storage.layers.names)
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import rootless
from rootless.errors import ImageError, RootlessError, StorageError
from rootless.faults import step
from rootless.kernel.files import remove_tree, sync_path
from storage.blobs import RESUMABLE_SECONDS, remove_parts
from storage.drafts import locked_directory, stale_drafts
from storage.drivers import UNMAPPED
from storage.layers.names import OWNERS, copies, name_of
from storage.layout import Layout

if TYPE_CHECKING:
    from rootless.kernel.userns import Child, UserNamespace

_PIPE_SIZE = 1 << 20


class LayerInfo(NamedTuple):
    """An extracted layer: its diffID (hex), bytes of its files, length of its tar, entries, entries whose owner could
    not be kept, entries or attributes that could not be made here (they are in the record)."""

    diff_id: str
    size: int
    tar_size: int
    entries: int
    squashed: int
    skipped: int


class LayerExtraction:
    """One layer on its way in. Write the blob into `stdin_fd` and close it (`close_input`), then `finish`; or `abort`.

    A child that fails early closes its end: writing then raises BrokenPipeError, and `finish` tells why.
    """

    def __init__(
        self, store: LayerStore, place: str, lock: int, child: Child, stdin_fd: int, expected: str | None
    ) -> None:
        self._store = store
        self._place = place
        self._lock = lock
        self._child = child
        self._expected = expected
        self.stdin_fd = stdin_fd

    def close_input(self) -> None:
        """Tell the child that this was all."""
        if self.stdin_fd >= 0:
            os.close(self.stdin_fd)
            self.stdin_fd = -1

    def finish(
        self,
        protect: Callable[[Sequence[str]], None] | None = None,
        put: Callable[[str, str], None] | None = None,
    ) -> LayerInfo:
        """Wait for the child, check the diffID, and put the layer in its place. On failure nothing is left.

        `protect` is a lease's, for whoever could not name the layer before: no collector takes it away from the moment
        at which it is in its place, where another process may have put it. `put(directory, diffID)` is what brings it
        there, in place of `LayerStore.put`; what it leaves in the directory is deleted.

        Raises ImageError for content that is damaged, hostile or not the layer that was expected; StorageError.
        """
        self.close_input()
        try:
            info = LayerInfo(*self._child.result())
            if self._expected is not None and info.diff_id != self._expected:
                raise ImageError(
                    f"extracting a layer: its content is sha256:{info.diff_id}, "
                    f"not sha256:{self._expected} as the image says"
                )
            if protect is not None:
                protect([info.diff_id])
            step("layer-extracted")
            (put or self._store.put)(self._place, info.diff_id)
            step("layer-stored")
        finally:
            self._drop()
        return info

    def abort(self) -> None:
        """End the child and remove what it wrote."""
        self._child.kill()
        self._drop()

    def _drop(self) -> None:
        self.close_input()
        self._store.delete(self._place)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class LayerRebuild:
    """The tar of one layer on its way out."""

    def __init__(self, child: Child, diff_id: str, hint: str | None) -> None:
        self._child = child
        self._diff_id = diff_id
        self._hint = hint

    def finish(self) -> int:
        """Wait for the child: the length of the tar. Raises StorageError where the layer is damaged."""
        try:
            found, length = self._child.result()
        except StorageError as error:
            error.hint = error.hint or self._hint
            raise
        if found != self._diff_id:
            raise StorageError(
                f"rebuilding the layer {self._diff_id[:12]}: its files were changed (they make sha256:{found[:12]})",
                "remove the image and pull or load it again",
            )
        return int(length)

    def abort(self) -> None:
        """End the child."""
        self._child.kill()


class LayerStore:
    """Layers of the store at `layout`; `user_namespace()` gives the mapped namespace when it is first needed, and
    `single()` says whether it has one id only."""

    def __init__(
        self,
        layout: Layout,
        user_namespace: Callable[[], UserNamespace],
        single: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layout = layout
        self._user_namespace = user_namespace
        self._single = single
        self._swept = False

    def has(self, diff_id: str) -> bool:
        """Whether the layer `diff_id` (hex) is here, whole, for the ids that are mapped now."""
        return name_of(self._layout, diff_id, self._single()) is not None

    def name(self, diff_id: str) -> str:
        """The directory below layers/ that holds the layer: the copy for our ids, else one for others.

        Raises StorageError where there is none.
        """
        own = name_of(self._layout, diff_id, self._single())
        for name in (own, *copies(diff_id)):
            if name is not None and os.path.isdir(self._layout.diff(name)):
                return name
        raise StorageError(f"reading the layer {diff_id[:12]}: it is missing", "pull or load the image again")

    def begin(self, expected_diff_id: str | None = None, max_bytes: int | None = None) -> LayerExtraction:
        """Start extracting a layer whose blob, compressed or not, is going to be written into `stdin_fd`.

        Call it before starting threads, and from a thread that lives until `finish`: it forks, and the child dies with
        the thread that called. `max_bytes` bounds what the layer may take on disk.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
            except OSError:
                pass  # beyond the user's share of pipe memory: the usual size does too
            return self._begin((reader, None), writer, expected_diff_id, max_bytes)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)

    def begin_from_file(
        self, fd: int, offset: int, length: int, expected_diff_id: str | None = None, max_bytes: int | None = None
    ) -> LayerExtraction:
        """As `begin`, for a blob that lies at `offset` in the seekable file `fd`: the child reads it by itself."""
        return self._begin((fd, (offset, length)), -1, expected_diff_id, max_bytes)

    def _begin(
        self, source: tuple[int, tuple[int, int] | None], writer: int, expected: str | None, max_bytes: int | None
    ) -> LayerExtraction:
        from storage.layers import child as layer_child

        layer_child.preload()
        self.sweep()
        if rootless.debug:
            rootless.debug(f"extracting layer {expected or '(of any content)'}")
        place, lock = locked_directory(self._layout, "layer-")
        opened: list[int] = []
        try:
            opened += _prepare(place)
            layer, record = opened
            child = self._user_namespace().spawn(
                layer_child.extract,
                source,
                layer,
                record,
                max_bytes,
                mount_ns=True,
                keep_fds=[source[0], layer, record],
            )
        except BaseException:
            os.close(lock)
            self._try_delete(place)
            raise
        finally:
            for fd in opened:
                os.close(fd)
        return LayerExtraction(self, place, lock, child, writer, expected)

    def put(self, place: str, diff_id: str) -> None:
        """Rename a finished layer into place; where another process was faster, theirs stays."""
        target = self._layout.layer(diff_id + suffix_of(place))
        try:
            os.rename(place, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            raise StorageError(f"storing the layer {diff_id[:12]}: {error.strerror}") from None
        sync_path(self._layout.layers)

    def rebuild(self, diff_id: str, out_fd: int) -> int:
        """Write the layer's tar, byte for byte as it came, to `out_fd`; returns its length.

        Raises StorageError where the result is not what the diffID says: the layer is damaged.
        """
        return self.start_rebuild(diff_id, out_fd).finish()

    def start_rebuild(self, diff_id: str, out_fd: int, at: int | None = None) -> LayerRebuild:
        """Begin what `rebuild` does, in a child; at the offset `at` of a file where one is given."""
        from storage.layers import child as layer_child

        layer_child.preload()
        layer = os.open(self._layout.layer(self.name(diff_id)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            child = self._user_namespace().spawn(layer_child.rebuild, layer, out_fd, at, keep_fds=[layer, out_fd])
        finally:
            os.close(layer)
        return LayerRebuild(child, diff_id, UNMAPPED if self._single() else None)

    def settle(self, diff_ids: Sequence[str]) -> None:
        """Complete the layers of an image (bottom first) by what only those below can tell (`storage.layers.settle`).

        To be called when all are in place, before the image is used. Cheap where nothing is open, as in nearly every
        image. Raises ImageError for a hard link to what no layer has.
        """
        for n, diff_id in enumerate(diff_ids):
            self._settle(self._place_of(diff_id), diff_ids[:n], held=False)

    def settle_draft(self, place: str, below: Sequence[str]) -> None:
        """As `settle`, for one that is being extracted in the directory `place`, which the extraction has locked;
        `below` are the diffIDs of those beneath, the lowest first."""
        self._settle(place, below, held=True)

    def _settle(self, place: str, below: Sequence[str], held: bool) -> None:
        if os.path.exists(place + "/notes"):
            from storage.layers.settle import settle

            self._user_namespace().run(settle, place, [self._place_of(diff_id) for diff_id in reversed(below)], held)

    def _place_of(self, diff_id: str) -> str:
        return self._layout.layer(name_of(self._layout, diff_id, self._single()) or diff_id)

    def remove(self, diff_id: str) -> None:
        """Delete a layer: it disappears in one step, its files are deleted after that."""
        for name in copies(diff_id):
            place = f"{self._layout.tmp}/gone-{os.urandom(8).hex()}"
            try:
                os.rename(self._layout.layer(name), place)
            except FileNotFoundError:
                continue
            self.delete(place)

    def delete(self, path: str) -> None:
        """Remove a tree below tmp/, inside the user namespace where files of subordinate ids are in it."""
        if not os.path.lexists(path):
            return
        if remove_tree(path):
            left = self._user_namespace().run(remove_tree, path)
            if left:
                raise StorageError(f"deleting {left[0]}: not permitted", UNMAPPED)

    def delete_unlocked(self, path: str) -> None:
        """As `delete`, unless a process holds the lock of `path`: it writes there, or deletes it itself.

        What belongs to ids that are not mapped now stays for a sweep under which they are.
        """
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.delete(path)
        except (BlockingIOError, StorageError):
            pass
        finally:
            os.close(lock)

    def _try_delete(self, path: str) -> None:
        """As `delete`, where something else has failed that matters more: what cannot be done is left to a sweep."""
        try:
            self.delete(path)
        except (RootlessError, OSError):
            pass

    def sweep(self) -> None:
        """Remove what killed processes left: nobody holds the lock of their directories in tmp/ any more, or goes on
        with their downloads or drafts."""
        if self._swept:
            return
        self._swept = True
        for name in os.listdir(self._layout.tmp):
            if not name.startswith(("layer-", "base-", "gone-")):
                continue
            self.delete_unlocked(f"{self._layout.tmp}/{name}")
        for path in stale_drafts(self._layout):
            self.delete_unlocked(path)
        remove_parts(self._layout, RESUMABLE_SECONDS)


def _prepare(place: str) -> tuple[int, int]:
    """Make what a layer's child writes into; descriptors of the layer's directory and of its record."""
    try:
        os.mkdir(place + "/diff", 0o755)
        os.chmod(place + "/diff", 0o755)
        layer = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return layer, os.open(place + "/record", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            os.close(layer)
            raise
    except OSError as error:
        raise StorageError(f"making {error.filename}: {error.strerror}") from None


def suffix_of(place: str) -> str:
    """What follows the diffID in the name of a finished layer."""
    try:
        with open(f"{place}/{OWNERS}") as file:
            return file.read()
    except FileNotFoundError:
        return ""
