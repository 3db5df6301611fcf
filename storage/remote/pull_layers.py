"""Fetching layers: each streams from the registry into the content store and into its extraction at the same time.

The extracting children are forked before the threads that download start: a fork beside running threads may inherit
locks that nobody lets go of.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from rootless.errors import ImageError, RootlessError, StorageError
from storage.blobs import BlobWriter, has_blob, open_blob, remove_blob
from storage.documents.manifests import Descriptor
from storage.images.rows import AddedLayer, record_layers
from storage.layers.store import LayerExtraction, LayerInfo
from storage.progress import Progress
from storage.registry.client import Client
from storage.registry.faults import Cancelled
from storage.store import Store

AT_ONCE = 6
_POLL_MILLISECONDS = 200
_FAREWELL_SECONDS = 2.0
_BATCH = 24  # children that exist at a time; those whose download has not begun sleep


@dataclass(frozen=True, slots=True)
class WantedLayer:
    """A layer to fetch: its blob, and the diffID (hex) that its content must have."""

    blob: Descriptor
    diff_id: str


class StalePartError(ImageError):
    """What an earlier, interrupted pull had left does not fit: to be fetched again from the beginning."""


def fetch_layers(
    store: Store, client: Client, wanted: Sequence[WantedLayer], where: str, progress: Progress, cancel: threading.Event
) -> dict[str, AddedLayer]:
    """Fetch and extract, several at a time; diffID -> what to tell `add_image`. The caller holds a lease.

    On an error the others are given up; what was complete stays for the next attempt, which resumes what was not.
    Raises RegistryError, ImageError (content that is not what its digest says), StorageError.
    """
    largest_first = sorted(wanted, key=lambda layer: -layer.blob.size)
    for layer in largest_first:
        progress.layer(layer.blob.digest, layer.blob.size)
    added: dict[str, AddedLayer] = {}
    for start in range(0, len(largest_first), _BATCH):
        batch = _Batch(store, client, where, progress, cancel)
        added |= batch.run(largest_first[start : start + _BATCH])
    return added


class _Transfer:
    """One layer on its way. `fault` is what has ended the transfer too early."""

    def __init__(self, layer: WantedLayer, extraction: LayerExtraction, cancel: threading.Event) -> None:
        self.layer = layer
        self.extraction = extraction
        self.fault: BaseException | None = None
        self._cancel = cancel
        self._fed = 0
        self._listening = True

    def run(self, store: Store, client: Client, where: str, progress: Progress) -> None:
        """Download, store and feed the layer. Returns when its blob is stored, with the right digest."""
        blob = self.layer.blob
        os.set_blocking(self.extraction.stdin_fd, False)
        self._pipe = select.poll()
        self._pipe.register(self.extraction.stdin_fd, select.POLLOUT)
        with BlobWriter(store.layout, blob.digest, resume=True) as writer:
            if writer.size > blob.size:
                writer.restart()
            resumed = writer.size
            while self._fed < writer.size:
                self._feed(writer.read_back(self._fed))
            progress.advance(blob.digest, writer.size)

            def restart() -> None:
                progress.advance(blob.digest, -writer.size)
                writer.restart()

            for piece in client.blob(blob, writer.size, restart):
                writer.write(piece)
                progress.advance(blob.digest, len(piece))
                if writer.size > self._fed:
                    self._feed(piece[max(0, len(piece) - (writer.size - self._fed)) :])
            self.extraction.close_input()
            self._commit(writer, resumed, f"{where}: the layer sha256:{blob.digest} from {client.host}")

    def _feed(self, data: bytes) -> None:
        self._fed += len(data)
        view = memoryview(data)
        while view and self._listening:
            if self._cancel.is_set():
                raise Cancelled("given up")
            try:
                view = view[os.write(self.extraction.stdin_fd, view) :]
            except BlockingIOError:
                self._pipe.poll(_POLL_MILLISECONDS)
            except BrokenPipeError:
                # The child has given up. Whether the registry or the image is to blame, the digest will tell.
                self._listening = False

    def _commit(self, writer: BlobWriter, resumed: int, what: str) -> None:
        try:
            writer.commit()
        except ImageError as error:
            kind = StalePartError if resumed else ImageError
            raise kind(
                f"{what} is refused: its content has the digest {error.message.rpartition(' ')[2]}",
                "the registry, or something on the way to it, is damaged or lies",
            ) from None

    def finish(self, where: str) -> LayerInfo:
        """Wait for the extraction; its errors name the layer."""
        what = f"{where}: the layer sha256:{self.layer.blob.digest[:12]}"
        try:
            return self.extraction.finish()
        except RootlessError as error:
            error.message = f"{what}: {error.message}"
            error.args = (error.message,)
            raise
        except OSError as error:
            raise StorageError(f"{what}: {error.strerror}", "is the disk full? rootless images shows sizes") from None


class _Batch:
    """Layers that are fetched together. `run` belongs to the thread that started the pull."""

    def __init__(self, store: Store, client: Client, where: str, progress: Progress, cancel: threading.Event) -> None:
        self._store = store
        self._client = client
        self._where = where
        self._progress = progress
        self._cancel = cancel
        self._waiting: SimpleQueue[_Transfer | None] = SimpleQueue()
        self._ended: SimpleQueue[_Transfer] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def run(self, layers: Sequence[WantedLayer]) -> dict[str, AddedLayer]:
        open_transfers: list[_Transfer] = []
        added: dict[str, AddedLayer] = {}
        try:
            for layer in layers:
                open_transfers.append(self._begin(layer))
            self._start_threads(len(layers))
            while open_transfers:
                transfer = self._ended.get()
                if transfer.fault is not None:
                    raise transfer.fault
                open_transfers.remove(transfer)
                added[transfer.layer.diff_id] = self._finish(transfer)
        except BaseException:
            self._cancel.set()
            self._client.interrupt()
            raise
        finally:
            deadline = time.monotonic() + _FAREWELL_SECONDS
            for thread in self._threads:
                # one that still waits for an answer of the registry touches nothing of ours any more when it comes
                thread.join(max(0.0, deadline - time.monotonic()))
            for transfer in open_transfers:
                transfer.extraction.abort()
        return added

    def _begin(self, layer: WantedLayer) -> _Transfer:
        """Start the extraction; from the blob where an interrupted pull has left it whole."""
        layout, layers = self._store.layout, self._store.layers
        if not has_blob(layout, layer.blob.digest):
            transfer = _Transfer(layer, layers.begin(layer.diff_id), self._cancel)
            self._waiting.put(transfer)
            return transfer
        descriptor = open_blob(layout, layer.blob.digest)
        try:
            transfer = _Transfer(
                layer, layers.begin_from_file(descriptor, 0, layer.blob.size, layer.diff_id), self._cancel
            )
        finally:
            os.close(descriptor)
        self._ended.put(transfer)
        return transfer

    def _start_threads(self, count: int) -> None:
        for _ in range(min(AT_ONCE, count)):
            self._waiting.put(None)
        for number in range(min(AT_ONCE, count)):
            thread = threading.Thread(target=self._work, name=f"pull-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while transfer := self._waiting.get():
            try:
                if self._cancel.is_set():
                    raise Cancelled("given up")
                transfer.run(self._store, self._client, self._where, self._progress)
            except BaseException as error:
                transfer.fault = error
            self._ended.put(transfer)

    def _finish(self, transfer: _Transfer) -> AddedLayer:
        info = transfer.finish(self._where)
        blob = transfer.layer.blob
        self._progress.done(blob.digest)
        layer = AddedLayer(info.diff_id, info.size, info.tar_size, blob.digest, blob.size, blob.media_type)
        if blob.digest == info.diff_id:  # uncompressed: the layer's record rebuilds it
            remove_blob(self._store.layout, blob.digest)
            layer = AddedLayer(info.diff_id, info.size, info.tar_size)
        record_layers(self._store, [layer])
        return layer
