"""`--log-driver` and `--log-opt`: which there are, what they mean, and what a monitor is told of them.

A container whose log is the ordinary one never loads this.
"""

from __future__ import annotations

import os

from rootless.engine.logplace import NO_FILE, PASSTHROUGH, log_path, option
from rootless.errors import RootlessError, UsageError
from rootless.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from rootless.engine.request import CreateRequest
    from storage.store import Store

DRIVERS = ("k8s-file", "json-file", "journald", "passthrough", "passthrough-tty", "none")
_KEYS = {
    "k8s-file": ("path", "max-size", "max-file"),
    "json-file": ("path", "max-size", "max-file", "tag", "labels", "env"),
    "journald": ("tag", "labels", "env"),
}
_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_MOST_FILES = 500  # which `logs` opens at once, where 1024 descriptors are allowed
_FILES = 2  # kept where a size is set and no number: the one that is written, and the one before it
_DOCKERS_TAGS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")


def check(request: CreateRequest) -> None:
    """Raise UsageError for a driver that there is not, or an option that it does not have."""
    driver = request.log_driver or "k8s-file"
    if driver not in DRIVERS:
        raise UsageError(f"--log-driver {driver}: not supported", f"use one of: {' '.join(DRIVERS)}")
    if driver in PASSTHROUGH:
        check_passthrough(request)
    known = _KEYS.get(driver, ())
    for text in request.log_opt:
        key, equals, value = text.partition("=")
        if key not in known or not equals:
            has = f"{driver} has: {' '.join(f'{name}=' for name in known)}" if known else f"{driver} has no options"
            others = [name for name, keys in _KEYS.items() if key in keys]
            if equals and others:
                has += f"; --log-driver {' or '.join(others)} has {key}="
            raise UsageError(f"--log-opt {text}: not supported", has)
        if key == "path" and not value.startswith("/"):
            raise UsageError(f"--log-opt {text}: not an absolute path", "--log-opt path=/ABSOLUTE/FILE")
    maximum_size(request.log_opt)
    _files(request.log_opt)
    _expand(option(request.log_opt, "tag"), dict.fromkeys(_DOCKERS_TAGS, ""))


def check_passthrough(request: CreateRequest) -> None:
    """Raise UsageError where the container may not have our standard streams."""
    if request.tty:
        raise UsageError(
            f"--log-driver {request.log_driver}: with -t the container has a terminal of its own", "leave out -t"
        )
    if request.restart and request.restart != "no":
        raise UsageError(
            f"--log-driver {request.log_driver}: a container with --restart outlives the streams of its first start",
            "leave out --restart, and let the unit or script that has the streams start it again",
        )
    if request.log_driver == "passthrough" and any(os.isatty(fd) for fd in (0, 1, 2)):
        raise UsageError(
            "--log-driver passthrough: the container would have your terminal, and could type into it",
            "redirect all three streams, or use --log-driver passthrough-tty if you trust it",
        )


def maximum_size(options: list[str]) -> int:
    """Bytes at which a log is begun anew (`max-size`, decimal units as Docker and Podman have them); 0 for never.

    Raises UsageError.
    """
    text = option(options, "max-size")
    if not text or text.startswith("-"):  # Docker's -1
        return 0
    number = text.lower().rstrip("b").rstrip("i")
    unit = number[-1:] if number[-1:].isalpha() else ""
    try:
        size = int(float(number.removesuffix(unit)) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise UsageError(f"--log-opt max-size={text}: not a size", "write it like 10mb, 512k or 1g")
    return size


def shown_size(options: list[str]) -> str:
    """`max-size` as Podman's `inspect` shows it: "10MB", "0B"."""
    size: float = maximum_size(options)
    units = ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.4g}{units[0]}"


def rotated_files(options: list[str]) -> int:
    """The highest number that a file beside the log itself may have; 0 where the log is never begun anew."""
    return max(1, _files(options) - 1) if maximum_size(options) else 0


def _files(options: list[str]) -> int:
    text = option(options, "max-file")
    if not text:
        return _FILES
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MOST_FILES):
        raise UsageError(f"--log-opt max-file={text}: not a number from 1 to {_MOST_FILES}")
    if not option(options, "max-size"):
        raise UsageError(
            "--log-opt max-file: a log has several files only with max-size", "add --log-opt max-size=10mb"
        )
    return int(text)


def _expand(tag: str, values: dict[str, str]) -> str:
    """A tag with Docker's template words replaced. Raises UsageError for others."""
    parts = tag.split("{{")
    result = parts[0]
    for part in parts[1:]:
        word, end, rest = part.partition("}}")
        name = word.strip().removeprefix(".")
        if not end or name not in values:
            words = " ".join(f"{{{{.{known}}}}}" for known in _DOCKERS_TAGS)
            raise UsageError(f"--log-opt tag={tag}: {{{{{word}{end} is not known", f"known: {words}")
        result += values[name] + rest
    return result


def plan(store: Store, container_id: str, request: CreateRequest) -> dict[str, Any]:
    """What the monitor must know of such a log besides its descriptor, in values that marshal takes."""
    from rootless.engine.records import get

    container = get(store.db, container_id)
    assert container is not None  # its starter holds it
    driver = request.log_driver or "k8s-file"
    values = _values(container)
    tag = _expand(option(request.log_opt, "tag"), values)
    chosen = _chosen(request)
    found: dict[str, Any] = {"driver": driver, "path": log_path(store, container_id, request.log_opt)}
    if driver == "journald":
        found["fields"] = _journal_fields(values, tag, chosen)
    if driver == "json-file":
        extras = attributes(container, request)
        found["attributes"] = dumps(extras).encode("utf-8", "replace") if extras else b""
    if driver not in NO_FILE:
        found["size"] = maximum_size(request.log_opt)
        found["files"] = _files(request.log_opt)
    return found


def attributes(container: Container, request: CreateRequest) -> dict[str, str] | None:
    """The tag, labels and variables that the options choose for each line; None where the driver has no such."""
    if "labels" not in _KEYS.get(request.log_driver or "k8s-file", ()):
        return None
    tag = _expand(option(request.log_opt, "tag"), _values(container))
    return {**({"tag": tag} if tag else {}), **_chosen(request)}


def _values(container: Container) -> dict[str, str]:
    """What the words of a tag stand for."""
    digest = container.image_id.removeprefix("sha256:")
    return {
        "ID": container.id[:12],
        "FullID": container.id,
        "Name": container.name,
        "ImageID": digest[:12],
        "ImageFullID": f"sha256:{digest}",
        "ImageName": container.image_name,
        "DaemonName": "rootless",
    }


def _chosen(request: CreateRequest) -> dict[str, str]:
    """The labels and variables of the container that `labels=A,B` and `env=A,B` name."""
    chosen = {}
    for key, lines in (("labels", request.label), ("env", request.env)):
        wanted = option(request.log_opt, key).split(",")
        for line in lines:
            name, _, value = line.partition("=")
            if name and name in wanted:
                chosen[name] = value
    return chosen


def _journal_fields(values: dict[str, str], tag: str, chosen: dict[str, str]) -> bytes:
    from rootless.engine.monitor.journal import fields, socket_path

    path = socket_path()
    if not os.path.exists(path):
        raise RootlessError(
            f"--log-driver journald: no journal listens here ({path} is not there)",
            "where systemd-journald does not run, use --log-driver k8s-file",
        )
    named = {
        "CONTAINER_ID": values["ID"],
        "CONTAINER_ID_FULL": values["FullID"],
        "CONTAINER_NAME": values["Name"],
        "IMAGE_NAME": values["ImageName"],
        "SYSLOG_IDENTIFIER": tag or values["Name"],
        **({"CONTAINER_TAG": tag} if tag else {}),
    }
    for name, value in chosen.items():
        field = "".join([c if c.isascii() and c.isalnum() else "_" for c in name]).upper().lstrip("_")[:64]
        if field and not field[0].isdigit():
            named.setdefault(field, value)
    return fields(named)
