"""Sending the layers of an image: several at a time, those that have to be compressed while others are on their way.

The compressing children are forked before the threads that send start: see storage.remote.pull_layers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue

from rootless.errors import RegistryError
from storage import compress
from storage.layers.pack import Packing, Turns, keep_for_layer
from storage.lease import Lease
from storage.progress import Progress
from storage.registry.faults import Cancelled
from storage.registry.upload import HERE, MOUNTED, Uploader
from storage.remote.push_plan import BlobFile, Layer, Recipe
from storage.store import Store

AT_ONCE = 6
_BATCH = 24  # children that exist at a time
_FAREWELL_SECONDS = 2.0

Sources = Mapping[str, Sequence[str]]  # digest (hex) -> repositories that may have it


def send_layers(
    store: Store,
    uploader: Uploader,
    layers: Sequence[Layer],
    recipe: Recipe,
    sources: Sources,
    lease: Lease,
    progress: Progress,
    cancel: threading.Event,
) -> list[BlobFile | None]:
    """Make sure that the repository has all of them; what was sent for each, None where that is what its entry names.

    Compressed layers stay in the store, so that the next push has the same blobs. On an error the others are given up.
    Raises RegistryError, StorageError.
    """
    sent: dict[str, BlobFile | None] = {}
    waiting: list[Layer] = []
    for layer in {_key(layer): layer for layer in layers}.values():
        note = _as_listed(uploader, layer, sources) if layer.listed else None
        if note is None:
            waiting.append(layer)
        else:
            sent[_key(layer)] = None
            progress.done(layer.listed_digest, note)
    waiting.sort(key=lambda layer: -layer.kept.size if layer.kept else 0)
    for start in range(0, len(waiting), _BATCH):
        batch = _Batch(store, uploader, recipe, sources, lease, progress, cancel)
        sent |= batch.run(waiting[start : start + _BATCH])
    return [sent[_key(layer)] for layer in layers]


def _key(layer: Layer) -> str:
    return f"{layer.diff_id} {layer.listed_digest}"


def _as_listed(uploader: Uploader, layer: Layer, sources: Sources) -> str | None:
    """How the repository comes to have what the manifest lists, without that it is sent; None: not at all."""
    digest = layer.listed_digest
    if uploader.has(digest):
        return HERE
    return MOUNTED if any(uploader.mount(digest, source) for source in sources.get(digest, ())) else None


class _Batch:
    """Layers that are sent together. `run` belongs to the thread that started the push."""

    def __init__(
        self,
        store: Store,
        uploader: Uploader,
        recipe: Recipe,
        sources: Sources,
        lease: Lease,
        progress: Progress,
        cancel: threading.Event,
    ) -> None:
        self._store = store
        self._uploader = uploader
        self._recipe = recipe
        self._sources = sources
        self._lease = lease
        self._progress = progress
        self._cancel = cancel
        self._waiting: SimpleQueue[BlobFile | None] = SimpleQueue()
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def run(self, layers: Sequence[Layer]) -> dict[str, BlobFile | None]:
        """What was sent, by the keys of the layers."""
        sent: dict[str, BlobFile | None] = {}
        turns = Turns()
        packings: list[tuple[Layer, Packing]] = []
        try:
            for layer in layers:
                if layer.kept is None:
                    packings.append((layer, self._begin(layer, turns)))
            self._start_threads(len(layers))
            for layer in layers:
                if layer.kept is not None:
                    sent[_key(layer)] = layer.kept
                    self._waiting.put(layer.kept)
            for layer, packing in packings:
                packing.finish()
                sent[_key(layer)] = blob = self._packed(layer, packing)
                self._waiting.put(blob)
            for _ in layers:
                fault = self._ended.get()
                if fault is not None:
                    raise fault
        except BaseException:
            self._cancel.set()
            raise
        finally:
            for _ in self._threads:
                self._waiting.put(None)
            deadline = time.monotonic() + _FAREWELL_SECONDS
            for thread in self._threads:
                # one that still waits for an answer of the registry touches nothing of ours any more when it comes
                thread.join(max(0.0, deadline - time.monotonic()))
            for _, packing in packings:
                packing.drop()
            turns.close()
        return sent

    def _begin(self, layer: Layer, turns: Turns) -> Packing:
        return Packing(self._store, layer.diff_id, layer.packing or compress.NONE, self._recipe.level, turns)

    def _packed(self, layer: Layer, packing: Packing) -> BlobFile:
        """The blob that was made; kept where the store has none of this layer."""
        if layer.stored is None and packing.packing != compress.NONE:
            keep_for_layer(self._store, self._lease, packing)
        return BlobFile(packing.path, packing.digest, packing.size)

    def _start_threads(self, count: int) -> None:
        for number in range(min(AT_ONCE, count)):
            thread = threading.Thread(target=self._work, name=f"push-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while blob := self._waiting.get():
            try:
                if self._cancel.is_set():
                    raise Cancelled("given up")
                self._send(blob)
            except BaseException as error:
                self._ended.put(error)
            else:
                self._ended.put(None)

    def _send(self, blob: BlobFile) -> None:
        begun = False

        def advance(count: int) -> None:
            nonlocal begun
            if not begun:
                self._progress.layer(blob.digest, blob.size)
                begun = True
            self._progress.advance(blob.digest, count)

        try:
            note = self._uploader.send(blob, self._sources.get(blob.digest, ()), advance)
        except OSError as error:
            raise RegistryError(f"reading the blob sha256:{blob.digest[:12]}: {error.strerror}") from None
        self._progress.done(blob.digest, note)
