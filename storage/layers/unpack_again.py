"""Layers for other ids than those that they were extracted for: see `storage.layers.names`.

The kept blob is extracted anew where there is one; else the tar is rebuilt out of the other copy's files. That always
works for a copy in which everything is ours. With one id mapped it fails at files that only other owners may read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rootless.errors import RootlessError, StorageError
from storage.lease import Lease

if TYPE_CHECKING:
    from storage.store import Store


def unpack_again(store: Store, diff_ids: Sequence[str]) -> list[str]:
    """Extract those of the layers (hex, lowest first) that are not here for our ids; the names of all below layers/.

    Raises StorageError for one that is missing altogether, or whose files we may not read.
    """
    with Lease(store) as lease:
        lease.protect(set(diff_ids))
        for diff_id in dict.fromkeys(diff_ids):
            if not store.layers.has(diff_id):
                _unpack(store, diff_id)
        store.layers.settle(diff_ids)
        return [store.layers.name(diff_id) for diff_id in diff_ids]


def _unpack(store: Store, diff_id: str) -> None:
    store.layers.name(diff_id)  # raises where there is no copy at all
    row = store.db.execute("SELECT blob FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
    if row is not None and row[0] and os.path.exists(store.layout.blob(row[0])):
        descriptor = os.open(store.layout.blob(row[0]), os.O_RDONLY | os.O_CLOEXEC)
        try:
            store.layers.begin_from_file(descriptor, 0, os.fstat(descriptor).st_size, diff_id).finish()
        finally:
            os.close(descriptor)
        return
    extraction = store.layers.begin(diff_id)
    try:
        store.layers.rebuild(diff_id, extraction.stdin_fd)
    except (RootlessError, OSError) as error:
        extraction.abort()
        if not store.user_map.single:
            raise
        raise StorageError(
            f"using the layer {diff_id[:12]} with one user id only: it was unpacked with subordinate ids, "
            f"and some of its files only those may read ({error})",
            "pull or load the image again, from here; or run where there are subordinate ids: see `rootless doctor`",
        ) from None
    extraction.finish()
