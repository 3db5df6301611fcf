"""Events as `events` prints them: a line for people, Podman's JSON, and what a template can name."""

from __future__ import annotations

import time
from typing import Any

from rootless.cli.output import printable, short
from rootless.cli.template.omitted import GoMap
from rootless.cli.template.values import Structure
from rootless.jsontext import dumps
from storage.event_log import Event

_HEALTH = {"health": "health_status", "streak": "health_failing_streak", "log": "health_log"}
_OWN = ("t", "type", "action", "id", "name", "image", "labels", "exit", "error", *_HEALTH)


def line(event: Event, full: bool) -> str:
    """As Podman says it; `full`: ids in all their length."""
    kind, identity = event["type"], event["id"] if full else short(event["id"])
    words = [_moment(event["t"]), kind, event["action"]]
    if kind == "container":
        facts = {"image": event.get("image", ""), "name": event["name"]}
        facts |= {shown: event[key] for key, shown in _HEALTH.items() if key in event}
        facts |= _attributes(event)
        words += [identity, f"({', '.join(f'{key}={value}' for key, value in facts.items())})"]
    elif kind == "volume":
        words.append(event["name"])
    elif kind != "system":
        words += [identity, event["name"]]
    if "error" in event:
        words.append(str(event["error"]))
    return printable(" ".join(words))


def as_json(event: Event) -> str:
    """One object on one line, with Podman's keys."""
    found: dict[str, Any] = {"ContainerExitCode": event["exit"]} if "exit" in event else {}
    for key, value in (("ID", event["id"]), ("Image", event.get("image")), ("Name", event["name"])):
        if value:
            found[key] = value
    found |= {"Status": event["action"], "time": event["t"] // 1_000_000_000, "timeNano": event["t"]}
    found["Type"] = event["type"]
    found |= {shown: event[key] for key, shown in _HEALTH.items() if event.get(key)}
    if "error" in event:
        found["Error"] = event["error"]
    found["Attributes"] = _attributes(event) or None
    return dumps(found)


def fields(event: Event) -> Structure:
    """What `--format` can name: Podman's fields, and Docker's .Action, .Actor and .From."""
    attributes = GoMap(_attributes(event))
    found: dict[str, Any] = {
        "ID": event["id"],
        "Name": event["name"],
        "Image": event.get("image", ""),
        "Type": event["type"],
        "Status": event["action"],
        "Time": event["t"] // 1_000_000_000,
        "TimeNano": event["t"],
        "Attributes": attributes,
        "ContainerExitCode": event.get("exit"),
        "Error": event.get("error", ""),
        "HealthStatus": event.get("health", ""),
        "HealthFailingStreak": event.get("streak", 0),
        "HealthLog": event.get("log", ""),
        "Network": "",
        "Action": event["action"],
        "Actor": Structure({"ID": event["id"], "Attributes": attributes}),
        "From": event.get("image", ""),
    }
    return Structure(found, lambda: _plain(event))


def _plain(event: Event) -> Any:
    from rootless.jsontext import loads

    return loads(as_json(event))


def _attributes(event: Event) -> dict[str, str]:
    """The labels, and what else is known (signal, oldName, ...)."""
    labels = event.get("labels")
    others = {key: str(value) for key, value in event.items() if key not in _OWN}
    return {**(dict(sorted(labels.items())) if isinstance(labels, dict) else {}), **others}


def _moment(nanoseconds: int) -> str:
    """As Go prints a time, to the nanosecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%d %H:%M:%S", local) + fraction + time.strftime(" %z %Z", local)
