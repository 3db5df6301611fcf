"""Restart policies: how they are written, and what they say about a container that has ended."""

from __future__ import annotations

import pytest

from rootless.engine.records import COLUMNS, Container
from rootless.engine.restart import ends_policy, parse_policy, pause_before, shown_policy
from rootless.errors import UsageError


def container(policy: str, restarts: int = 0, stopped: int = 0) -> Container:
    values = dict.fromkeys(COLUMNS, "") | {"restart": policy, "restarts": restarts, "stopped": stopped}
    return Container(tuple(values[name] for name in COLUMNS))


@pytest.mark.parametrize(
    ("typed", "kept", "shown"),
    [
        (None, "", {"Name": "no", "MaximumRetryCount": 0}),
        ("no", "", {"Name": "no", "MaximumRetryCount": 0}),
        ("always", "always", {"Name": "always", "MaximumRetryCount": 0}),
        ("unless-stopped", "unless-stopped", {"Name": "unless-stopped", "MaximumRetryCount": 0}),
        ("on-failure", "on-failure", {"Name": "on-failure", "MaximumRetryCount": 0}),
        ("on-failure:007", "on-failure:7", {"Name": "on-failure", "MaximumRetryCount": 7}),
    ],
)
def test_policies(typed: str | None, kept: str, shown: dict[str, object]) -> None:
    assert parse_policy(typed) == kept
    assert shown_policy(kept) == shown


@pytest.mark.parametrize(
    "typed",
    ["never", "always:3", "no:1", "on-failure:", "on-failure:x", "on-failure:0", "on-failure:-1", ":3", "a:b:c"],
)
def test_policies_that_are_none(typed: str) -> None:
    with pytest.raises(UsageError, match="--restart"):
        parse_policy(typed)


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "again"),
    [
        ("", 1, 0, False),
        ("always", 0, 1000, True),
        ("always", 137, 0, True),
        ("unless-stopped", 0, 3, True),
        ("on-failure", 0, 0, False),
        ("on-failure", 1, 1000, True),
        ("on-failure:2", 1, 1, True),
        ("on-failure:2", 1, 2, False),
        ("on-failure:2", 0, 0, False),
    ],
)
def test_who_is_started_again(policy: str, code: int, restarts: int, again: bool) -> None:
    assert (pause_before(container(policy, restarts), code, 1, 0) is not None) == again
    assert pause_before(container(policy, restarts, stopped=1), code, 1, 0) is None, "the user has ended it"


def test_pauses_double_up_to_a_minute_and_are_short_again_after_ten_seconds_of_running() -> None:
    pauses = []
    last = 0.0
    for _ in range(14):
        pause = pause_before(container("always"), 1, 9.9, last)
        assert pause is not None
        pauses.append(round(pause, 1))
        last = pause
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert pauses[-3:] == [60.0, 60.0, 60.0]
    assert pause_before(container("always"), 1, 10, last) == 0.1


def test_signals_that_are_not_meant_to_end_it_leave_the_policy() -> None:
    hup, kill, term, usr1 = 1, 9, 15, 10
    assert [ends_policy(container("always"), number, usr1) for number in (hup, kill, term, usr1)] == [0, 1, 1, 1]
    assert not ends_policy(container(""), kill, term)


@pytest.mark.parametrize("number", [2, 3, 9, 15])
def test_signals_that_are_meant_to_end_it_end_the_policy(number: int) -> None:
    assert ends_policy(container("always"), number, 1)


def test_a_health_check_may_have_it_started_again_without_a_policy_unless_a_user_has_ended_it() -> None:
    assert pause_before(container(""), 0, 1, 0, renew=True) == 0.1
    assert pause_before(container("on-failure:1", restarts=1), 0, 1, 0, renew=True) == 0.1
    assert pause_before(container("", stopped=1), 0, 1, 0, renew=True) is None
    assert pause_before(container(""), 1, 1, 0) is None
