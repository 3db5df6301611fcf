"""Image configurations (OCI image-spec config.md; Docker's is the same in all that matters), checked and read.

What is stored has passed `parse_config`, so that nobody after it meets a list where a string belongs. Absent and null
fields are fine: readers write `config.get("config") or {}`.
"""

from __future__ import annotations

from typing import Any

from rootless.errors import ImageError
from rootless.jsontext import loads

LIMIT = 4 << 20  # bytes; what containers/image takes for a configuration or a manifest

_STRINGS = ("User", "WorkingDir", "StopSignal", "Domainname", "Hostname")
_LISTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_OBJECTS = ("Labels", "ExposedPorts", "Volumes", "Healthcheck")


def parse_config(data: bytes, where: str) -> dict[str, Any]:
    """The configuration in `data`, checked; `where` names it in errors. Raises ImageError."""
    if len(data) > LIMIT:
        raise ImageError(f"{where}: the image configuration has {len(data)} bytes, more than {LIMIT}")
    try:
        config = loads(data)
    except ValueError as error:
        raise ImageError(f"{where}: the image configuration is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise _wrong(where, "the image configuration", "an object")
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids"), list):
        raise ImageError(
            f"{where}: the image configuration has no list rootfs.diff_ids",
            "is it an artifact (a chart, a signature) and no image, or from before Docker 1.10?",
        )
    for diff_id in rootfs["diff_ids"]:
        digest_hex(diff_id, where)
    for key in ("architecture", "os", "variant", "author", "created"):
        _check(config, key, str, where, "a string")
    if not _is(config.get("history"), list) or not all(isinstance(step, dict) for step in config.get("history") or ()):
        raise _wrong(where, "history", "a list of objects")
    _check_runtime(config, where)
    return config


def _check_runtime(config: dict[str, Any], where: str) -> None:
    _check(config, "config", dict, where, "an object")
    inner = config.get("config") or {}
    for key in _STRINGS:
        _check(inner, key, str, where, "a string")
    for key in _LISTS:
        if not _is(inner.get(key), list) or not all(isinstance(item, str) for item in inner.get(key) or ()):
            raise _wrong(where, f"config.{key}", "a list of strings")
    for key in _OBJECTS:
        _check(inner, key, dict, where, "an object")
    if not all(isinstance(value, str) for value in (inner.get("Labels") or {}).values()):
        raise _wrong(where, "config.Labels", "an object of strings")
    for key in (*_LISTS, *_STRINGS, *_OBJECTS):
        for text in _texts(inner.get(key)):
            if "\0" in text:
                raise ImageError(f"{where}: config.{key} has a NUL character")
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise ImageError(f"{where}: config.{key} has half a character (an unpaired surrogate)")


def _texts(value: Any) -> list[str]:
    """The strings that a checked field is made of."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for text in value.values() if isinstance(text, str))]
    return value or []


def _is(value: object, kind: type) -> bool:
    return value is None or isinstance(value, kind)


def _check(values: dict[str, Any], key: str, kind: type, where: str, what: str) -> None:
    if not _is(values.get(key), kind):
        raise _wrong(where, key, what)


def _wrong(where: str, key: str, what: str) -> ImageError:
    return ImageError(f"{where}: {key} is not {what}")


def digest_hex(digest: object, where: str) -> str:
    """The 64 hex digits of "sha256:..."; raises ImageError for anything else."""
    if isinstance(digest, str) and len(digest) == 71 and digest.startswith("sha256:"):
        text = digest[7:]
        if not text.strip("0123456789abcdef"):
            return text
    raise ImageError(f"{where}: {str(digest)[:100]!r} is not a sha256 digest")


def unix_time(text: str | None) -> float:
    """Unix seconds of an RFC 3339 time; 0.0 where there is none or it is none."""
    if not text:
        return 0.0
    from datetime import UTC, datetime

    seconds, dot, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if dot else ""
    fraction = rest[: len(rest) - len(zone)][:6]
    try:
        when = datetime.fromisoformat(seconds + (f".{fraction}" if fraction else "") + zone)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.timestamp()
