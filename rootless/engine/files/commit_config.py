"""The configuration of the image that `commit` makes: the base image's, with what the container was made with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rootless.engine.health.plan import for_image
from rootless.engine.spec.config import parse_entrypoint
from rootless.errors import UsageError
from rootless.jsontext import dumps, loads
from rootless.kernel.fifos import open_to_read
from storage.documents.config import parse_config
from storage.documents.instructions import apply_changes
from storage.platforms import host_platform

# what Docker notes about the container behind an image, and what describes the base alone
_OF_THE_BASE = ("author", "comment", "container", "container_config", "docker_version", "id", "parent", "throwaway")
_MERGED = ("Labels", "ExposedPorts", "Volumes")
_COMMANDS = ("Entrypoint", "Cmd")


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """`changes`: as in a Containerfile; `config`: a "config" object to merge; `docker`: write Docker's format;
    `squash`: one layer; `volumes`: mounts of the container become volumes of the image."""

    author: str | None = None
    message: str | None = None
    changes: Sequence[str] = ()
    config: dict[str, Any] = field(default_factory=dict)
    docker: bool = False
    squash: bool = False
    pause: bool = False
    volumes: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of the container. `request`: its options; `process`: of its OCI configuration; `mounted`: paths
    that become volumes of the image; `ports`: "80/tcp" that it publishes."""

    request: dict[str, Any]
    process: dict[str, Any]
    image_name: str
    labels: dict[str, str]
    mounted: Sequence[str]
    ports: Sequence[str]


def image_config(
    base: dict[str, Any] | None, described: Described, options: CommitOptions, diff_ids: Sequence[str]
) -> bytes:
    """The configuration as bytes. `base`: that of the container's image, None where that has been removed; `diff_ids`
    in hex, those of all layers. Raises UsageError for changes that make no sense."""
    inner = inner_config((base or {}).get("config") or {}, described, options)
    now = time.time_ns()
    created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"
    host = host_platform()
    config = {key: value for key, value in (base or {}).items() if key not in _OF_THE_BASE}
    config = {"created": created, "architecture": host.architecture, "os": host.os, **config}
    config["created"] = created
    if options.author:
        config["author"] = options.author
    if options.message and options.docker:
        config["comment"] = options.message
    config["config"] = inner
    config["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]}
    step = {"created": created, "created_by": " ".join(described.process.get("args") or ["/bin/sh"])}
    if options.author:
        step["author"] = options.author
    step["comment"] = options.message or f"FROM {described.image_name}"
    earlier = [] if options.squash else list((base or {}).get("history") or [])
    config["history"] = [*earlier, step]
    return dumps(config).encode("utf-8", "replace")


def inner_config(image: dict[str, Any], described: Described, options: CommitOptions) -> dict[str, Any]:
    """The "config" object. What the engine itself adds to every container (HOSTNAME, ...) is left out."""
    inner = {key: value for key, value in image.items() if value not in (None, [], {}, "")}
    request = described.request
    if request.get("env"):
        inner["Env"] = _merged_env(inner.get("Env") or [], request["env"])
    _set_command(inner, request)
    if request.get("user"):
        inner["User"] = request["user"]
    if request.get("stop_signal"):
        inner["StopSignal"] = request["stop_signal"]
    if request.get("workdir"):
        inner["WorkingDir"] = request["workdir"]
    elif described.process.get("cwd") not in (None, "/"):
        inner["WorkingDir"] = described.process["cwd"]
    if request.get("health"):
        inner["Healthcheck"] = for_image(request["health"])
    for key, names in (("ExposedPorts", described.ports), ("Volumes", described.mounted)):
        if names:
            inner[key] = {**(inner.get(key) or {}), **{name: {} for name in names}}
    if described.labels:
        inner["Labels"] = dict(described.labels)
    _merge(inner, options.config)
    apply_changes(inner, options.changes)
    return inner


def _set_command(inner: dict[str, Any], request: dict[str, Any]) -> None:
    """As `spec.arguments`: another entry point takes the image's command away."""
    if "entrypoint" in request:
        entrypoint = parse_entrypoint(request["entrypoint"])
        inner.pop("Cmd", None)
        inner["Entrypoint"] = entrypoint
        if not entrypoint:
            del inner["Entrypoint"]
    if request.get("command"):
        inner["Cmd"] = request["command"]


def _merged_env(lines: Sequence[str], more: Sequence[str]) -> list[str]:
    values: dict[str, str] = {}
    for line in [*lines, *more]:
        name, _, value = line.partition("=")
        values[name] = value
    return [f"{name}={value}" for name, value in values.items()]


def _merge(inner: dict[str, Any], given: dict[str, Any]) -> None:
    """Overlay with the object of --config. Entry point and command belong together: one of them replaces both."""
    if any(given.get(key) for key in _COMMANDS):
        for key in _COMMANDS:
            inner.pop(key, None)
    for key, value in given.items():
        if value in (None, [], {}, ""):
            continue
        if key == "Env":
            inner[key] = _merged_env(inner.get(key) or [], value)
        elif key in _MERGED:
            inner[key] = {**(inner.get(key) or {}), **value}
        else:
            inner[key] = value


def read_given(path: str) -> dict[str, Any]:
    """The object of --config FILE: the "config" of an image. Raises UsageError."""
    where = f"--config {path}"
    try:
        with open(path, "rb", opener=open_to_read) as file:
            given = loads(file.read())
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{where}: it is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError(f"{where}: it is not an object", 'for instance: {"Env": ["A=b"], "Cmd": ["/bin/sh"]}')
    parse_config(dumps({"rootfs": {"diff_ids": []}, "config": given}).encode(), where)
    return given
