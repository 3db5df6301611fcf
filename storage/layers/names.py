"""Which extracted copy of a layer suits whom. Hot.

A layer whose files all belong to root is the same for everybody and lies in layers/<diffID>. One that has other owners
too is extracted there with all ids mapped, and has a file `owners`. Where only one id is mapped, those owners' files
could be neither read nor changed: a copy in which root owns everything lies beside it, in layers/<diffID>.single.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.layout import Layout
    from storage.store import Store

OWNERS = "owners"
SINGLE = ".single"


def copies(diff_id: str) -> tuple[str, str]:
    """The names that copies of a layer have below layers/."""
    return diff_id, diff_id + SINGLE


def name_of(layout: Layout, diff_id: str, single: bool) -> str | None:
    """The directory below layers/ in which the layer lies for the one mapped id (`single`), or for all; None where
    there is no such copy."""
    if single:
        if os.path.isdir(layout.diff(diff_id + SINGLE)):
            return diff_id + SINGLE
        if os.path.exists(f"{layout.layer(diff_id)}/{OWNERS}"):
            return None
    return diff_id if os.path.isdir(layout.diff(diff_id)) else None


def layer_names(store: Store, diff_ids: Sequence[str]) -> list[str]:
    """The names below layers/ under which a container finds its layers (hex, in the same order).

    A layer that was extracted for other ids is extracted again. Raises StorageError where that cannot be done.
    """
    single, layout = store.user_map.single, store.layout
    names = []
    for diff_id in diff_ids:
        name = name_of(layout, diff_id, single)
        if name is None:
            from storage.layers.unpack_again import unpack_again

            return unpack_again(store, diff_ids)
        names.append(name)
    return names
