"""`--filter` where things of several kinds are pruned: what all of them have."""

from __future__ import annotations

from rootless.cli.filter_words import pairs

KEYS = ("label", "label!", "until")


def check(filters: list[str]) -> None:
    """Raise UsageError for a filter that containers, images and volumes do not all know."""
    pairs(filters, KEYS)
