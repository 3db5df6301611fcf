"""The health check of an image: the object "Healthcheck" of Docker's configurations (OCI's have none, and yet many keep
it), and the instruction HEALTHCHECK that makes one.

    Test             ["CMD", program, argument...], ["CMD-SHELL", line], ["NONE"], or empty: that of the base
    Interval, Timeout, StartPeriod, StartInterval    nanoseconds; 0 or absent: the default
    Retries          0 or absent: the default
"""

from __future__ import annotations

from rootless.errors import ImageError
from rootless.times import nanoseconds_of
from storage.documents.words import json_list, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NONE = "NONE"
TIMES = ("Interval", "Timeout", "StartPeriod", "StartInterval")
_OPTIONS = {
    "--interval": "Interval",
    "--timeout": "Timeout",
    "--start-period": "StartPeriod",
    "--start-interval": "StartInterval",
}
_KINDS = ("CMD", "CMD-SHELL")


def parse_instruction(value: str) -> dict[str, Any]:
    """What stands behind HEALTHCHECK in a Containerfile: [OPTION=VALUE...] CMD COMMAND, or NONE. Raises ValueError."""
    check: dict[str, Any] = {}
    rest = value.strip()
    while rest.startswith("--"):
        word, _, rest = rest.partition(" ")
        rest = rest.strip()
        name, _, text = word.partition("=")
        if name == "--retries":
            if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
                raise ValueError(f"{word}: expected a number above 0")
            check["Retries"] = int(text[:9])
        elif name in _OPTIONS:
            check[_OPTIONS[name]] = nanoseconds_of(text)
        else:
            raise ValueError(f"{name} is not one of {', '.join([*_OPTIONS, '--retries'])}")
    kind, _, command = rest.partition(" ")
    command = command.strip()
    if kind.upper() == NONE and not command and not check:
        return {"Test": [NONE]}
    if kind.upper() not in _KINDS or not command:
        raise ValueError("expected CMD and a command, or NONE")
    listed = json_list(command) if kind.upper() == "CMD" else None
    return {"Test": ["CMD-SHELL", command] if listed is None else ["CMD", *listed], **check}


def parse_command(text: str) -> list[str]:
    """The Test that a command line names as Podman reads it: a JSON list, "CMD ...", "CMD-SHELL ...", "NONE", or a line
    for the shell. Raises ValueError where it is empty."""
    listed = json_list(text.strip())
    if listed is None:
        first, _, rest = text.strip().partition(" ")
        kind = first.upper()
        if kind == NONE:
            return [NONE]
        if kind == "CMD":
            listed = [kind, *words(rest)]
        elif kind == "CMD-SHELL":
            listed = [kind, rest.strip()]
        else:
            listed = ["CMD-SHELL", text.strip()]
    elif listed and listed[0].upper() in (NONE, *_KINDS):
        listed = [listed[0].upper(), *listed[1:]]
    else:
        listed = ["CMD", *listed] if len(listed) > 1 else ["CMD-SHELL", *listed]
    if listed[0] == NONE:
        return [NONE]
    if len(listed) < 2 or not listed[1]:
        raise ValueError("there is no command in it")
    return listed


def of_image(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """The health check in the "config" object of an image called `name`; {} where it has none.

    Raises ImageError where it makes no sense.
    """
    check: dict[str, Any] = settings.get("Healthcheck") or {}
    test = check.get("Test") or []
    flaw = None
    if not isinstance(test, list) or not all(isinstance(word, str) for word in test):
        flaw = "Test is not a list of strings"
    elif test and test[0] not in (NONE, *_KINDS):
        flaw = f"Test begins with {test[0]!r}"
    elif test and test[0] != NONE and len(test) < 2:
        flaw = "Test has no command"
    for key in (*TIMES, "Retries"):
        number = check.get(key) or 0
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 63:
            flaw = f"{key} is not a number of {'retries' if key == 'Retries' else 'nanoseconds'}"
    if flaw is not None:
        raise ImageError(
            f"the health check of image {name}: {flaw}", "run it with --no-healthcheck, or with a --health-cmd of yours"
        )
    return check if test else {}
