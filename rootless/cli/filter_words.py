"""`--filter KEY=VALUE` as all commands read it that have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from rootless.errors import UsageError

T = TypeVar("T")


def pairs(filters: Iterable[str], known: Sequence[str]) -> list[tuple[str, str]]:
    """(key, value) of each. Raises UsageError for a key that is not `known`."""
    found = []
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            hint = None if equals else "write it as KEY=VALUE"
            raise UsageError(f"filter {text!r}: not one of {', '.join(known)}", hint)
        found.append((key, value))
    return found


def every_key(tests: Iterable[tuple[str, Callable[[T], bool]]]) -> Callable[[T], bool]:
    """One test of many, each with its key: values of one key are alternatives, but labels (`label`, `label!`) must all
    fit; keys must all fit."""
    by_key: dict[str, list[Callable[[T], bool]]] = {}
    for key, test in tests:
        by_key.setdefault(key, []).append(test)

    def passes(thing: T) -> bool:
        return all((all if key.startswith("label") else any)(test(thing) for test in by_key[key]) for key in by_key)

    return passes
