"""Durations in Go's notation and moments as users write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli.times import go_duration, moment_of, seconds_of
from rootless.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("250ms", 0.25), ("0s", 0), ("2m3s", 123)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5x", "1h-3m", "nan", "1..5s", "٣s x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        seconds_of(text)


def test_moments() -> None:
    assert moment_of("1700000000") == 1700000000
    assert moment_of("1700000000.25") == 1700000000.25
    assert moment_of("2024-05-01T12:00:00Z") == 1714564800
    assert moment_of("2024-05-01T12:00:00+02:00") == 1714557600
    assert moment_of("10m") == pytest.approx(time.time() - 600, abs=5)


@given(st.text(max_size=12))
def test_any_text_is_a_moment_or_a_usage_error(text: str) -> None:
    try:
        moment = moment_of(text)
    except UsageError:
        return
    assert isinstance(moment, float)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0125, "12.5ms"), (1.5, "1.5s"), (61, "1m1s"), (3723.25, "1h2m3.25s"), (3e-6, "3µs"), (-2, "-2s")],
)
def test_durations_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@given(st.floats(0, 1e7))
def test_a_printed_duration_reads_as_the_same(seconds: float) -> None:
    assert seconds_of(go_duration(seconds)) == pytest.approx(seconds, abs=1e-6)
