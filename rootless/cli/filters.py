"""`--filter` for containers. Values of one key are alternatives (labels must all be there); keys must all fit."""

from __future__ import annotations

import re
from collections.abc import Callable

from rootless.cli.filter_words import every_key, pairs
from rootless.cli.options import boolean
from rootless.engine.inspect.network import exposed
from rootless.engine.records import Container, find
from rootless.engine.restart import POLICIES
from rootless.errors import UsageError
from rootless.jsontext import loads
from storage.store import Store

Test = Callable[[Container], bool]

STATES = ("created", "initialized", "running", "paused", "stopping", "exited", "restarting", "removing")
HEALTHS = ("healthy", "none", "starting", "unhealthy")
_KEYS = (
    "ancestor",
    "before",
    "command",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "pod",
    "publish",
    "restart-policy",
    "should-start-on-boot",
    "since",
    "status",
    "until",
    "volume",
)


def container_filter(store: Store, filters: list[str]) -> Test:
    """The test that a container must pass. Raises UsageError for an unknown key or value."""
    return every_key((key, _test(store, key, value)) for key, value in pairs(filters, _KEYS))


def _not(test: Test) -> Test:
    return lambda container: not test(container)


def _test(store: Store, key: str, value: str) -> Test:
    if key == "id":
        return lambda container: container.id.startswith(value)
    if key == "name":
        return _named(value)
    if key == "label":
        return _labelled(value)
    if key == "label!":
        return _not(_labelled(value))
    if key == "status":
        return _in_state(value)
    if key == "exited":
        return _exited_with(value)
    if key == "ancestor":
        return _made_from(store, value)
    if key in ("before", "since"):
        moment = find(store.db, value).created
        return (lambda c: c.created < moment) if key == "before" else (lambda c: c.created > moment)
    if key == "until":
        from rootless.cli.times import moment_of

        limit = moment_of(value)
        return lambda container: container.created < limit
    if key == "restart-policy":
        return _with_policy(value)
    if key == "should-start-on-boot":
        return _starts_on_boot(value)
    if key == "network":
        return lambda container: _network_of(container) == value
    if key == "health":
        return _in_health(value)
    if key == "command":
        search = _pattern("command", value).search
        return lambda container: search(container.command.partition(" ")[0]) is not None
    if key == "pod":
        return lambda container: False  # there are none
    if key == "is-task":
        wanted = _truth(key, value)
        return lambda container: not wanted  # there is no swarm whose tasks they could be
    if key in ("expose", "publish"):
        return _with_port(key, value)
    return _with_volume(store, value)


def _named(pattern: str) -> Test:
    search = _pattern("name", pattern).search
    return lambda container: search(container.name) is not None


def _pattern(key: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"filter {key}={text}: {error}") from None


def _labelled(text: str) -> Test:
    key, equals, value = text.partition("=")

    def test(container: Container) -> bool:
        labels = loads(container.labels)
        return key in labels and (not equals or labels[key] == value)

    return test


def _in_state(state: str) -> Test:
    state = {"stopped": "exited", "configured": "created"}.get(state, state)
    if state not in STATES:
        raise UsageError(f"filter status={state}: not one of {', '.join(STATES)}")
    return lambda container: container.state == state


def _in_health(health: str) -> Test:
    if health not in HEALTHS:
        raise UsageError(f"filter health={health}: not one of {', '.join(HEALTHS)}")
    return lambda container: (container.health or "none") == health


def _with_policy(policy: str) -> Test:
    if policy.partition(":")[0] not in POLICIES:
        raise UsageError(f"filter restart-policy={policy}: not one of {', '.join(POLICIES)}")
    return lambda container: policy in (container.restart or "no", container.restart.partition(":")[0])


def _starts_on_boot(text: str) -> Test:
    """Whether a restart policy asks for it after the machine has been started anew."""
    wanted = _truth("should-start-on-boot", text)

    def test(container: Container) -> bool:
        starts = container.restart == "always" or (container.restart == "unless-stopped" and not container.stopped)
        return starts == wanted

    return test


def _truth(key: str, text: str) -> bool:
    try:
        return boolean(text)
    except ValueError:
        raise UsageError(f"filter {key}={text}: neither true nor false") from None


def _with_port(key: str, text: str) -> Test:
    """Docker's: `publish` is about ports of the host that are published, `expose` about those of the container,
    published or not; PORT[-LAST][/PROTOCOL], tcp where none is named."""
    numbers, _, protocol = text.partition("/")
    protocol = protocol or "tcp"
    first, _, last = numbers.partition("-")
    try:
        wanted = range(_port(first), _port(last or first) + 1)
    except ValueError:
        raise UsageError(f"filter {key}={text}: not a port", f"write it like {key}=80, {key}=8000-8010/udp") from None

    def test(container: Container) -> bool:
        published = [(port if key == "publish" else inside, kind) for _, port, inside, kind in loads(container.ports)]
        if any(port in wanted and kind == protocol for port, kind in published):
            return True
        return key == "expose" and any(_exposes(text, wanted, protocol) for text in exposed(loads(container.request)))

    return test


def _exposes(text: str, wanted: range, protocol: str) -> bool:
    port, _, kind = text.partition("/")
    return port.isdigit() and int(port) in wanted and kind == protocol


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(text)
    return int(text)


def _exited_with(text: str) -> Test:
    if not text.isdigit():
        raise UsageError(f"filter exited={text}: not an exit code")
    return lambda container: container.state == "exited" and container.exit_code == int(text)


def _made_from(store: Store, reference: str) -> Test:
    from storage.lookup import find_image

    image = find_image(store.db, reference)
    image_id = image.id if image is not None else None
    return lambda container: container.image_id == image_id or container.image_name == reference


def _network_of(container: Container) -> str:
    return str(loads(container.network).get("mode", ""))


def _with_volume(store: Store, text: str) -> Test:
    """The name of a volume, or a path on either side of a mount."""
    rows = store.db.execute("SELECT container_id FROM container_volumes WHERE volume = ?", (text,))
    users = {row[0] for row in rows}

    def test(container: Container) -> bool:
        if container.id in users:
            return True
        mounts = loads(container.request).get("inspected_mounts", [])
        return any(text in (mount["Destination"], mount.get("Source")) for mount in mounts)

    return test
