"""`--filter` where things of several kinds are pruned: what all of them have."""

from __future__ import annotations

from rootless.errors import UsageError

KEYS = ("label", "label!", "until")


def check(filters: list[str]) -> None:
    """Raise UsageError for a filter that containers, images and volumes do not all know."""
    for text in filters:
        key, equals, _ = text.partition("=")
        if not equals or key not in KEYS:
            hint = None if equals else "write it as KEY=VALUE"
            raise UsageError(f"filter {text!r}: not one of {', '.join(KEYS)}", hint)
