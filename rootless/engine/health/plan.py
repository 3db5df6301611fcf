"""What is to be checked of a container, and when: settled when it is made, out of the options and the image.

A plan is a field of the request, in JSON, with the names that Docker and Podman show in `inspect`:

    Test, Interval, Timeout, StartPeriod, StartInterval, Retries    as storage.documents.healthcheck; all are there
    Shell            what runs a CMD-SHELL
    Startup          Test, Interval, Timeout, Retries, Successes of the check that comes first, where there is one
    OnFailure        none, kill, restart or stop
    LogDestination   local, events_logger, or a directory
    MaxLogCount, MaxLogSize    0: as many, and as much, as we allow

`{"Test": ["NONE"]}` alone: the user wants none.
"""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.times import nanoseconds_of
from storage.documents.healthcheck import NONE, TIMES, of_image, parse_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.request import CreateRequest

    Plan = dict[str, Any]

ACTIONS = ("none", "kill", "restart", "stop")
SECOND = 10**9
SHELL = ["/bin/sh", "-c"]
_DEFAULTS = {
    "Interval": 30 * SECOND,
    "Timeout": 30 * SECOND,
    "StartPeriod": 0,
    "StartInterval": 5 * SECOND,
    "Retries": 3,
}
_LOG = {"LogDestination": "local", "MaxLogCount": 5, "MaxLogSize": 500}
_STARTUP = {"Interval": 30 * SECOND, "Timeout": 30 * SECOND, "Retries": 0, "Successes": 0}
_LEAST = SECOND // 1000
_OF_CHECK = {
    "health_interval": "Interval",
    "health_timeout": "Timeout",
    "health_start_interval": "StartInterval",
    "health_start_period": "StartPeriod",
    "health_retries": "Retries",
}
_OF_STARTUP = {
    "health_startup_interval": "Interval",
    "health_startup_timeout": "Timeout",
    "health_startup_retries": "Retries",
    "health_startup_success": "Successes",
}
_OF_LOG = {
    "health_log_destination": "LogDestination",
    "health_max_log_count": "MaxLogCount",
    "health_max_log_size": "MaxLogSize",
}


def is_check(plan: Plan | None) -> bool:
    """Whether there is something to be checked."""
    return plan is not None and plan["Test"] != [NONE]


def settle(request: CreateRequest, settings: dict[str, Any]) -> None:
    """Set `request.health` from the options and from `settings`, the "config" object of the image.

    Raises UsageError, and ImageError for an image's check that makes no sense.
    """
    given = _given(request)
    if request.no_healthcheck:
        if given:
            raise UsageError(f"--no-healthcheck and {_spelled(next(iter(given)))} contradict each other")
        request.health = {"Test": [NONE]}
    elif given:
        base = request.health
        if base is None and request.health_cmd is None:
            base = _from_image(settings, request.image)
        request.health = changed(base, given, settings.get("Shell") or SHELL)
    elif request.health is None:
        request.health = _from_image(settings, request.image)
    for name in given:
        setattr(request, name, None)
    request.no_healthcheck = False


def inherited(settings: dict[str, Any], name: str) -> Plan | None:
    """The plan of a container that is made of an image with the "config" object `settings` without any option."""
    from rootless.errors import ImageError

    try:
        return _from_image(settings, name)
    except ImageError:
        return None


def for_image(plan: Plan) -> dict[str, Any]:
    """The object "Healthcheck" of an image whose containers are to be checked so."""
    names = ("Test", *TIMES, "Retries")
    return {name: plan[name] for name in names if plan.get(name)}


def _given(request: CreateRequest) -> dict[str, Any]:
    options = {
        "health_cmd": request.health_cmd,
        "health_interval": request.health_interval,
        "health_log_destination": request.health_log_destination,
        "health_max_log_count": request.health_max_log_count,
        "health_max_log_size": request.health_max_log_size,
        "health_on_failure": request.health_on_failure,
        "health_retries": request.health_retries,
        "health_start_interval": request.health_start_interval,
        "health_start_period": request.health_start_period,
        "health_startup_cmd": request.health_startup_cmd,
        "health_startup_interval": request.health_startup_interval,
        "health_startup_retries": request.health_startup_retries,
        "health_startup_success": request.health_startup_success,
        "health_startup_timeout": request.health_startup_timeout,
        "health_timeout": request.health_timeout,
    }
    return {name: value for name, value in options.items() if value is not None}


def _from_image(settings: dict[str, Any], name: str) -> Plan | None:
    check = of_image(settings, name)
    if not check:
        return None
    if check["Test"][0] == NONE:
        return {"Test": [NONE]}
    times = {key: check.get(key) or default for key, default in _DEFAULTS.items()}
    return {"Test": check["Test"], **times, "Shell": settings.get("Shell") or SHELL, "OnFailure": "none", **_LOG}


def changed(plan: Plan | None, given: dict[str, Any], shell: list[str]) -> Plan:
    """A plan with the options in `given` (attribute of the request: value as typed) applied. Raises UsageError."""
    new: Plan = dict(plan) if is_check(plan) and plan is not None else {}
    if "health_cmd" in given:
        test = _command("health_cmd", given["health_cmd"])
        if test == [NONE]:
            others = [name for name in given if name != "health_cmd"]
            if others:
                raise UsageError(f"--health-cmd none and {_spelled(others[0])} contradict each other")
            return {"Test": [NONE]}
        new = {**_DEFAULTS, "OnFailure": "none", **_LOG, **new, "Test": test, "Shell": shell}
    if not new:
        raise UsageError(
            f"{_spelled(next(iter(given)))}: there is no health check that it could be about",
            "say what to check: --health-cmd COMMAND",
        )
    for name, key in _OF_CHECK.items():
        if name in given:
            new[key] = _number(name, given[name]) if key == "Retries" else _time(name, given[name], key)
    action = given.get("health_on_failure")
    if action is not None:
        if action not in ACTIONS:
            raise UsageError(f"--health-on-failure {action}: not one of {', '.join(ACTIONS)}")
        new["OnFailure"] = action
    _startup(new, given, shell)
    for name, key in _OF_LOG.items():
        if name in given:
            new[key] = given[name]
    if "health_log_destination" in given:
        new["LogDestination"] = _destination(given["health_log_destination"])
    return new


def _startup(plan: Plan, given: dict[str, Any], shell: list[str]) -> None:
    if "health_startup_cmd" in given:
        test = _command("health_startup_cmd", given["health_startup_cmd"])
        if test == [NONE]:
            plan.pop("Startup", None)
        else:
            plan["Startup"] = {**_STARTUP, **plan.get("Startup", {}), "Test": test}
    for name, key in _OF_STARTUP.items():
        if name in given:
            if "Startup" not in plan:
                raise UsageError(f"{_spelled(name)}: there is no check at startup", "add --health-startup-cmd COMMAND")
            value = given[name] if key in ("Retries", "Successes") else _time(name, given[name], key)
            plan["Startup"] = {**plan["Startup"], key: value}


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")


def _command(name: str, text: str) -> list[str]:
    try:
        return parse_command(text)
    except ValueError as error:
        raise UsageError(
            f"{_spelled(name)} {text!r}: {error}", 'write a line for the shell, or a list: ["CMD", "/bin/check", "-q"]'
        ) from None


def _time(name: str, text: str, key: str) -> int:
    if key == "Interval" and text == "disable":
        return 0
    try:
        value = nanoseconds_of(text)
    except ValueError as error:
        raise UsageError(f"{_spelled(name)}: {error}", "write it like 30s or 1m30s") from None
    if key in TIMES and value < _LEAST and not (value == 0 and key in ("Interval", "StartPeriod")):
        raise UsageError(f"{_spelled(name)} {text}: at least 1ms")
    return value


def _number(name: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{_spelled(name)} {value}: at least 1")
    return value


def _destination(text: str) -> str:
    if text in ("local", "events_logger"):
        return text
    path = os.path.abspath(text)
    if not text or not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(
            f"--health-log-destination {text}: not a directory that we may write to",
            "or: local, events_logger",
        )
    return path
