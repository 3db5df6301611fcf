"""The warning of hosts, or moments, in which only one user id can be mapped."""

from __future__ import annotations

from collections.abc import Callable

from storage.store import Store


def warn_of_one_id(store: Store, tell: Callable[[str], None]) -> None:
    """Tell, where containers have a single id: why, what follows, and where the remedy is."""
    user_map = store.user_map
    if user_map.single:
        tell(
            f"containers have one user id only: {user_map.reason}\n"
            "hint: all files belong to root and other users cannot be had; `rootless doctor` tells the remedy"
        )
