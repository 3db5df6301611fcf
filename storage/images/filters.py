"""Filters of `images`, `image prune` and their like: KEY=VALUE, as Podman's and Docker's users write them.

Values of one key are alternatives, except `label`, of which all must hold; different keys must all hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from rootless.errors import UsageError
from storage.documents.config import unix_time
from storage.images.listing import ListedImage, repo_digests
from storage.lookup import need_image
from storage.sqlite import Connection

Test = Callable[[ListedImage], bool]

KEYS = ("after", "before", "containers", "dangling", "digest", "id", "label", "label!", "reference", "since", "until")
WITH_CONFIG = ("label", "label!")


def split_filters(filters: Iterable[str]) -> list[tuple[str, str]]:
    """(key, value) of each "key=value" or "label!=value". Raises UsageError for unknown keys."""
    pairs = []
    for text in filters:
        key, equals, value = text.partition("=")
        if key not in KEYS or not equals:
            raise UsageError(f"filter {text!r}: not known", f"filters: {', '.join(KEYS)} (KEY=VALUE)")
        pairs.append((key, value))
    return pairs


def image_filter(connection: Connection, filters: Iterable[tuple[str, str]]) -> Test:
    """One test for all `filters`. Raises UsageError for bad values, NotFoundError for images that are not there."""
    groups: dict[str, list[Test]] = {}
    every: list[Test] = []
    for key, value in filters:
        test = _test(connection, key, value)
        if key in WITH_CONFIG:
            every.append(test)
        else:
            groups.setdefault(key, []).append(test)

    def passes(image: ListedImage) -> bool:
        return all(test(image) for test in every) and all(
            any(test(image) for test in tests) for tests in groups.values()
        )

    return passes


def _test(connection: Connection, key: str, value: str) -> Test:
    if key in ("dangling", "containers"):
        if value.lower() not in ("true", "false", "1", "0"):
            raise UsageError(f"filter {key}={value}: it is true or false")
        wanted = value.lower() in ("true", "1")
        if key == "dangling":
            return lambda image: image.dangling is wanted
        return lambda image: bool(image.containers) is wanted
    if key == "reference":
        return lambda image: any(matches(name, value) for name in (*image.names, *image.pinned))
    if key == "id":
        return lambda image: image.id.startswith(value.removeprefix("sha256:"))
    if key == "digest":
        return lambda image: any(name.endswith("@" + value) for name in repo_digests(image)) or image.digest == value
    if key in WITH_CONFIG:
        return _label_test(key, value)
    if key == "until":
        limit = _moment(value)
        return lambda image: image.created_unix < limit
    other = unix_time(need_image(connection, value).created)
    if key == "before":
        return lambda image: image.created_unix < other
    return lambda image: image.created_unix > other


def _label_test(key: str, value: str) -> Test:
    name, equals, wanted = value.partition("=")

    def has(image: ListedImage) -> bool:
        labels = (image.config.get("config") or {}).get("Labels") or {}
        return name in labels and (not equals or fnmatchcase(labels[name], wanted))

    return has if key == "label" else lambda image: not has(image)


def _moment(value: str) -> float:
    """Unix seconds of an RFC 3339 time, a Unix time, or a duration before now ("10m", "1h30m")."""
    if value.replace(".", "", 1).isdigit():
        return float(value)
    seconds, number = 0.0, ""
    for character in value:
        if character.isdigit() or character == ".":
            number += character
        elif character in "hms" and number.replace(".", "", 1).isdigit():
            seconds += float(number) * {"h": 3600, "m": 60, "s": 1}[character]
            number = ""
        else:
            number = "no duration"
            break
    if not number and value:
        return time.time() - seconds
    moment = unix_time(value)
    if not moment:
        raise UsageError(f"filter until={value}: neither a time (2024-05-01T10:00:00Z) nor a duration (24h)")
    return moment


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern with *, ? and [] fits a stored name: in full or as short as Docker writes it, with its tag or
    digest or without; a star stops at slashes."""
    repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
    rest = name[len(repository) :]
    spellings = [repository]
    if repository.startswith("docker.io/"):
        spellings.append(repository.removeprefix("docker.io/"))
        if repository.startswith("docker.io/library/"):
            spellings.append(repository.removeprefix("docker.io/library/"))
    else:
        spellings.append(repository.rpartition("/")[2] if repository.startswith("localhost/") else repository)
    wanted = pattern.split("/")
    for spelling in spellings:
        for text in (spelling, spelling + rest):
            parts = text.split("/")
            if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
                return True
    return False
