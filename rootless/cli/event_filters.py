"""`events --filter`. Values of one key are alternatives (labels must all be there); keys must all fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rootless.cli.filter_words import every_key, pairs
from rootless.errors import UsageError
from storage.event_log import Event

Test = Callable[[Event], bool]

TYPES = ("container", "image", "network", "pod", "secret", "system", "volume")
_KEYS = ("container", "event", "image", "label", "network", "pod", "secret", "status", "type", "volume")
_SPELLINGS = {  # Docker's names of what Podman calls otherwise
    "die": "died",
    "destroy": "remove",
    "delete": "remove",
    "exec_create": "exec",
    "exec_start": "exec",
    "exec_die": "exec_died",
    "load": "loadfromarchive",
}


def event_filter(filters: list[str]) -> Test:
    """The test that an event must pass. Raises UsageError for an unknown key or type."""
    given = pairs(filters, _KEYS)
    return every_key(("event" if key == "status" else key, _test(key, value)) for key, value in given)


def _test(key: str, value: str) -> Test:
    if key == "type":
        if value not in TYPES:
            raise UsageError(f"filter type={value}: not one of {', '.join(TYPES)}")
        return lambda event: bool(event["type"] == value)
    if key in ("event", "status"):
        wanted = _SPELLINGS.get(value.lower(), value.lower())
        return lambda event: event["action"].lower() in (wanted, value.lower())
    if key == "label":
        name, equals, wanted = value.partition("=")

        def labelled(event: Event) -> bool:
            labels: Any = event.get("labels")
            return isinstance(labels, dict) and name in labels and (not equals or labels[name] == wanted)

        return labelled
    return lambda event: event["type"] == key and _is_named(event, value, key == "image")


def _is_named(event: Event, value: str, is_image: bool) -> bool:
    name = event["name"]
    if value == name or (value and event["id"].startswith(value.removeprefix("sha256:") if is_image else value)):
        return True
    return is_image and name.endswith(("/" + value, f"/{value}:latest"))
