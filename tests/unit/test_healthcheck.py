"""Health checks in Containerfiles, image configurations and on command lines."""

from __future__ import annotations

from typing import Any

import pytest

from rootless.engine.health.plan import is_check, settle
from rootless.engine.health.results import delay
from rootless.engine.request import CreateRequest
from rootless.errors import ImageError, UsageError
from rootless.times import nanoseconds_of, seconds_of
from storage.documents.healthcheck import of_image, parse_command, parse_instruction

S = 10**9


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("curl -f http://localhost/ || exit 1", ["CMD-SHELL", "curl -f http://localhost/ || exit 1"]),
        ('["curl", "-f", "x"]', ["CMD", "curl", "-f", "x"]),
        ('["curl -f x"]', ["CMD-SHELL", "curl -f x"]),
        ('["CMD", "curl"]', ["CMD", "curl"]),
        ('["CMD-SHELL", "curl || exit 1"]', ["CMD-SHELL", "curl || exit 1"]),
        ("CMD curl 'a b'", ["CMD", "curl", "a b"]),
        ("CMD-SHELL curl || exit 1", ["CMD-SHELL", "curl || exit 1"]),
        ("none", ["NONE"]),
        ("NONE", ["NONE"]),
        ('["none"]', ["NONE"]),
        ("[ -e /ok ]", ["CMD-SHELL", "[ -e /ok ]"]),
    ],
)
def test_commands(text: str, test: list[str]) -> None:
    assert parse_command(text) == test


@pytest.mark.parametrize("text", ["", " ", "[]", '[""]', "CMD", "CMD-SHELL ", '["CMD"]', "CMD 'a"])
def test_commands_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_command(text)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("NONE", {"Test": ["NONE"]}),
        ("CMD true", {"Test": ["CMD-SHELL", "true"]}),
        ('cmd ["a", "b"]', {"Test": ["CMD", "a", "b"]}),
        (
            "--interval=1m30s --timeout=3s --start-period=1s --start-interval=500ms --retries=5 CMD a --b",
            {
                "Test": ["CMD-SHELL", "a --b"],
                "Interval": 90 * S,
                "Timeout": 3 * S,
                "StartPeriod": S,
                "StartInterval": S // 2,
                "Retries": 5,
            },
        ),
    ],
)
def test_instructions(text: str, check: dict[str, Any]) -> None:
    assert parse_instruction(text) == check


@pytest.mark.parametrize("text", ["", "CMD", "NONE x", "x", "--interval=1 CMD x", "--retries=0 CMD x", "--no=1 CMD x"])
def test_instructions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instruction(text)


@pytest.mark.parametrize(
    "check",
    [
        {"Test": "true"},
        {"Test": [1]},
        {"Test": ["true"]},
        {"Test": ["CMD"]},
        {"Test": ["CMD", "x"], "Interval": "30s"},
        {"Test": ["CMD", "x"], "Timeout": -1},
        {"Test": ["CMD", "x"], "Retries": 1.5},
    ],
)
def test_images_whose_check_makes_no_sense(check: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="image busybox"):
        of_image({"Healthcheck": check}, "busybox")
    request = CreateRequest("busybox", no_healthcheck=True)
    settle(request, {"Healthcheck": check})
    assert not is_check(request.health)


def test_options_go_over_the_image() -> None:
    image = {"Healthcheck": {"Test": ["CMD", "x"], "Retries": 7}, "Shell": ["/bin/bash", "-c"]}
    request = CreateRequest("a", health_interval="5s", health_on_failure="kill")
    settle(request, image)
    assert request.health is not None
    assert request.health["Test"] == ["CMD", "x"]
    assert (request.health["Retries"], request.health["Interval"]) == (7, 5 * S)
    assert (request.health["OnFailure"], request.health["Shell"]) == ("kill", ["/bin/bash", "-c"])
    assert "health_interval" not in request.to_plain()
    again = CreateRequest.from_plain(request.to_plain())
    settle(again, {})
    assert again.health == request.health


def test_a_command_of_the_users_takes_nothing_from_the_image() -> None:
    request = CreateRequest("a", health_cmd="y")
    settle(request, {"Healthcheck": {"Test": ["CMD", "x"], "Retries": 7}})
    assert request.health is not None
    assert (request.health["Test"], request.health["Retries"]) == (["CMD-SHELL", "y"], 3)


def test_options_without_a_check_are_refused() -> None:
    with pytest.raises(UsageError, match="--health-timeout"):
        settle(CreateRequest("a", health_timeout="5s"), {"Healthcheck": {"Test": ["NONE"]}})


def test_when_the_next_check_is() -> None:
    plan = {"Interval": 30 * S, "StartPeriod": 60 * S, "StartInterval": 5 * S, "Startup": {"Interval": 2 * S}}
    assert delay(plan, "starting", 10, False, True) == 5
    assert delay(plan, "starting", 61, False, True) == 30
    assert delay(plan, "healthy", 10, False, True) == 30
    assert delay(plan, "starting", 10, True, False) == 2
    assert delay(plan, "starting", 10, True, True) == 0
    assert delay({**plan, "Interval": 0}, "healthy", 10, False, True) is None


def test_durations() -> None:
    assert seconds_of("1h0m1.5s") == 3601.5
    assert nanoseconds_of("0") == 0
    assert nanoseconds_of("100ms") == 10**8
    for text in ("", "5", "-5s", "1x", "s", "1e400s", ".s"):
        with pytest.raises(ValueError):
            nanoseconds_of(text)
