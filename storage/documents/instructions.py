"""`--change INSTRUCTION`: settings of an image written as in a Containerfile (import, commit).

Both "CMD /bin/sh" and "CMD=/bin/sh" are read, as by Podman.
"""

from __future__ import annotations

from rootless.errors import UsageError
from storage.documents.words import json_list, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def apply_changes(config: dict[str, Any], changes: Iterable[str]) -> None:
    """Apply them in their order to `config`, the "config" object of an image. Raises UsageError naming the change."""
    for change in changes:
        instruction, value = _split(change)
        apply = _INSTRUCTIONS.get(instruction)
        if apply is None:
            raise _bad(change, f"{instruction or change!r} is not one of {', '.join(_INSTRUCTIONS)}")
        if not value:
            raise _bad(change, f"{instruction} needs a value")
        try:
            apply(config, value)
        except ValueError as error:
            raise _bad(change, str(error)) from None


def _split(change: str) -> tuple[str, str]:
    text = change.strip()
    end = next((number for number, character in enumerate(text) if not character.isalpha()), len(text))
    if text[end : end + 1] not in ("", "=", " ", "\t"):
        return text.upper(), ""
    return text[:end].upper(), text[end + 1 :].strip()


def _bad(change: str, why: str) -> UsageError:
    return UsageError(f"--change {change!r}: {why}", "for instance: --change 'CMD [\"/bin/sh\"]' --change 'ENV A=b'")


def _command(key: str) -> Callable[[dict[str, Any], str], None]:
    def apply(config: dict[str, Any], value: str) -> None:
        parsed = json_list(value)
        config[key] = ["/bin/sh", "-c", value] if parsed is None else parsed
        if key == "Entrypoint":
            config.pop("Cmd", None)  # the command of the base belongs to another entry point

    return apply


def _pairs(value: str) -> list[tuple[str, str]]:
    """KEY=VALUE ..., or the old form KEY VALUE."""
    first = value.split(None, 1)
    if "=" not in first[0]:
        if len(first) != 2:
            raise ValueError("expected KEY=VALUE")
        return [(first[0], first[1])]
    pairs = []
    for word in words(value):
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise ValueError(f"expected KEY=VALUE, found {word!r}")
        pairs.append((key, text))
    return pairs


def _env(config: dict[str, Any], value: str) -> None:
    for key, text in _pairs(value):
        kept = [line for line in config.get("Env") or [] if line.partition("=")[0] != key]
        config["Env"] = [*kept, f"{key}={text}"]


def _label(config: dict[str, Any], value: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(value))}


def _expose(config: dict[str, Any], value: str) -> None:
    exposed = dict(config.get("ExposedPorts") or {})
    for word in value.split():
        ports, _, protocol = word.partition("/")
        low, dash, high = ports.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or protocol.lower() not in ("", "tcp", "udp", "sctp"):
            raise ValueError(f"{word!r} is no port: 80, 53/udp, 8000-8010")
        first, last = int(low), int(high or low)
        if not 0 < first <= last < 65536:
            raise ValueError(f"{word!r}: ports are 1 to 65535")
        for port in range(first, last + 1):
            exposed[f"{port}/{protocol.lower() or 'tcp'}"] = {}
    config["ExposedPorts"] = exposed


def _volume(config: dict[str, Any], value: str) -> None:
    paths = json_list(value) or words(value)
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _string(key: str) -> Callable[[dict[str, Any], str], None]:
    def apply(config: dict[str, Any], value: str) -> None:
        config[key] = value

    return apply


def _workdir(config: dict[str, Any], value: str) -> None:
    base = config.get("WorkingDir") or "/"
    config["WorkingDir"] = value if value.startswith("/") else f"{base.rstrip('/')}/{value}"


def _onbuild(config: dict[str, Any], value: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or []), value]


def _healthcheck(config: dict[str, Any], value: str) -> None:
    from storage.documents.healthcheck import parse_instruction

    config["Healthcheck"] = parse_instruction(value)


_INSTRUCTIONS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _string("StopSignal"),
    "USER": _string("User"),
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
