"""`events`: which it shows, and how."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rootless.cli.event_filters import event_filter
from rootless.cli.event_view import as_json, fields, line
from rootless.cli.template import compile_template
from rootless.errors import UsageError

DIED: dict[str, Any] = {
    "t": 1795534945628103054,
    "type": "container",
    "action": "died",
    "id": "f49175b188cd" + "0" * 52,
    "name": "c3",
    "image": "localhost/bb:1",
    "labels": {"b": "2", "a": "1"},
    "exit": 3,
}
CHECKED = {**DIED, "action": "health_status", "health": "healthy", "streak": 0, "log": ""}
KILLED = {**DIED, "action": "kill", "signal": 10}
TAGGED = {"t": 10**18, "type": "image", "action": "tag", "id": "e5" * 32, "name": "docker.io/library/bb:7"}
MADE = {"t": 10**18, "type": "volume", "action": "create", "id": "v9", "name": "v9"}
FAILED = {**TAGGED, "action": "pull-error", "id": "", "error": "no such\x1b[1mhost"}


def test_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    where = "(image=localhost/bb:1, name=c3, a=1, b=2)"
    assert line(DIED, False).endswith(f" container died f49175b188cd {where}")
    assert line(DIED, True).endswith(f" container died {DIED['id']} {where}")
    assert ".628103054 +" in line(DIED, True)
    assert "name=c3, health_status=healthy, health_failing_streak=0, health_log=, a=1" in line(CHECKED, True)
    assert line(MADE, True).endswith(" volume create v9")
    assert line(TAGGED, False).endswith(" image tag e5e5e5e5e5e5 docker.io/library/bb:7")
    assert line(FAILED, False).endswith(r" docker.io/library/bb:7 no such\x1b[1mhost")


def test_podmans_keys_in_json() -> None:
    assert json.loads(as_json(DIED)) == {
        "ContainerExitCode": 3,
        "ID": DIED["id"],
        "Image": "localhost/bb:1",
        "Name": "c3",
        "Status": "died",
        "time": 1795534945,
        "timeNano": 1795534945628103054,
        "Type": "container",
        "Attributes": {"a": "1", "b": "2"},
    }
    assert json.loads(as_json(MADE))["Attributes"] is None
    assert json.loads(as_json(KILLED))["Attributes"]["signal"] == "10"
    assert json.loads(as_json(CHECKED))["health_status"] == "healthy"
    assert json.loads(as_json(FAILED))["Error"].startswith("no such")


def test_fields_of_templates() -> None:
    def shown(text: str, event: dict[str, Any]) -> str:
        return compile_template(text)(fields(event))

    assert shown("{{.Name}} {{.Status}} {{.Action}} {{.ContainerExitCode}}", DIED) == "c3 died died 3"
    assert shown("{{.Attributes.a}} {{.Actor.Attributes.b}} {{.TimeNano}}", DIED) == "1 2 1795534945628103054"
    assert shown("{{json .}}", DIED) == as_json(DIED)
    with pytest.raises(UsageError):
        shown("{{.Foo}}", DIED)


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ([], [DIED, TAGGED, MADE]),
        (["event=died"], [DIED]),
        (["event=die"], [DIED]),
        (["status=DIED"], [DIED]),
        (["event=tag", "event=create"], [TAGGED, MADE]),
        (["type=image"], [TAGGED]),
        (["type=image", "event=died"], []),
        (["container=c3"], [DIED]),
        (["container=f49175"], [DIED]),
        (["container="], []),
        (["container=c"], []),
        (["image=bb:7"], [TAGGED]),
        (["image=docker.io/library/bb:7"], [TAGGED]),
        (["image=sha256:e5e5"], [TAGGED]),
        (["image=localhost/bb:1"], []),
        (["volume=v9"], [MADE]),
        (["label=a"], [DIED]),
        (["label=a=1", "label=b=2"], [DIED]),
        (["label=a=1", "label=b=3"], []),
        (["pod=x"], []),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_filters(filters: list[str], shown: list[Any]) -> None:
    passes = event_filter(filters)
    assert [event for event in (DIED, TAGGED, MADE) if passes(event)] == shown


@pytest.mark.parametrize("text", ["foo", "foo=bar", "event!=died", "type=foo", ""])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        event_filter([text])
