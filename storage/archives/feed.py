"""Layers out of files into the store: several extractions at once, and the compressed blobs kept beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from storage.images.rows import AddedLayer, record_layers
from storage.layers.store import LayerExtraction
from storage.progress import Progress
from storage.store import Store

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Feed:
    """A layer at `offset` of the seekable file `descriptor`, `size` bytes, compressed or not.

    `diff_id`: hex, or None where it is not known before. `blob`: the hex digest under which the bytes are kept as they
    are (and which they must have), or None where the layer's record is enough.
    """

    descriptor: int
    offset: int
    size: int
    diff_id: str | None
    blob: str | None = None
    media_type: str | None = None


def feed_layers(store: Store, feeds: Sequence[Feed], progress: Progress) -> dict[str, AddedLayer]:
    """Extract them side by side, twice as many at a time as there are processors; diffID -> what to tell `add_image`.

    On an error the others are given up; what was complete stays for the next attempt (or the garbage collector).
    """
    added: dict[str, AddedLayer] = {}
    waiting = sorted(feeds, key=lambda feed: feed.size)
    running: list[tuple[Feed, LayerExtraction]] = []
    limit = 2 * (os.cpu_count() or 1)
    try:
        while waiting or running:
            if waiting and len(running) < limit:
                feed = waiting.pop()
                running.append((feed, _begin(store, feed)))
                if feed.blob:
                    _keep_blob(store, feed, feed.blob)
                continue
            feed, extraction = running.pop(0)
            info = extraction.finish()
            layer = AddedLayer(info.diff_id, info.size, info.tar_size)
            if feed.blob:
                layer = replace(layer, blob=feed.blob, blob_size=feed.size, media_type=feed.media_type)
            record_layers(store, [layer])
            progress.layer(info.diff_id, feed.size)
            progress.done(info.diff_id)
            added[info.diff_id] = layer
    finally:
        for _, extraction in running:
            extraction.abort()
    return added


def _begin(store: Store, feed: Feed) -> LayerExtraction:
    return store.layers.begin_from_file(feed.descriptor, feed.offset, feed.size, feed.diff_id)


def _keep_blob(store: Store, feed: Feed, digest: str) -> None:
    """Copy the bytes into the content store while the child extracts them; a wrong digest is an ImageError."""
    from storage.blobs import BlobWriter

    with BlobWriter(store.layout, digest) as writer:
        position, end = feed.offset, feed.offset + feed.size
        while position < end:
            data = os.pread(feed.descriptor, min(_CHUNK, end - position), position)
            if not data:
                break
            writer.write(data)
            position += len(data)
        writer.commit()
