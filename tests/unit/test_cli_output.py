"""Tables, sizes, times and JSON as Podman prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli.output import ago, go_time, human_duration, human_size, pretty_json, table


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (8_085_432, "8.09 MB"),
        (125_400_000, "125 MB"),
        (999_499, "999 kB"),
        (999_900, "1 MB"),
        (2 * 10**9, "2 GB"),
    ],
)
def test_sizes(size: int, expected: str) -> None:
    assert human_size(size) == expected


@given(st.integers(0, 10**20))
def test_sizes_never_show_an_exponent(size: int) -> None:
    assert "e" not in human_size(size)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
        (-5, "Less than a second"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert human_duration(seconds) == expected


def test_ago() -> None:
    assert ago(1000, 1300) == "5 minutes ago"


def test_times_look_as_go_prints_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert go_time(0) == "1970-01-01 00:00:00 +0000 UTC"
    assert go_time(1.5) == "1970-01-01 00:00:01.5 +0000 UTC"


def test_columns_are_twelve_wide_at_least_and_the_last_has_no_blanks_behind_it() -> None:
    assert table([["A", "B"], ["1234567890123", "x"]]) == "A              B\n1234567890123  x\n"
    assert table([["A", "B"]]) == "A           B\n"
    assert table([]) == ""


def test_a_cell_cannot_leave_its_place() -> None:
    assert table([["A", "B"], ["a\n\x1b[2Jb", "ü\t"]]) == "A            B\na\\n\\x1b[2Jb  ü\\t\n"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_pretty_json_is_what_the_json_package_prints(value: Any) -> None:
    assert pretty_json(value) == json.dumps(value, indent=4, ensure_ascii=False)
