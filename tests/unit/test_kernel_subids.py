"""Reading /etc/subuid and /etc/subgid (HOSTILE 33)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.kernel.subids import ID_LIMIT, clip, names_another_source, parse, parse_line

Spans = list[tuple[int, int]]

spans = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=6)


def ids(ranges: Spans) -> set[int]:
    return {number for start, count in ranges for number in range(start, start + count)}


def test_entries_by_name_and_by_number_are_ours_in_the_order_of_the_file() -> None:
    content = b"# comment\nalice:100000:65536\nbob:1:2\n1001:300000:10\nalice:200000:5\n"
    assert parse(content, "alice", 1001) == [(100000, 65536), (300000, 10), (200000, 5)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"alice",
        b"alice:1",
        b"alice:1:2:3",
        b":1:2",
        b"#alice:1:2",
        b"alice:-1:2",
        b"alice:1:-2",
        b"alice:0x10:2",
        b"alice: 1:2",
        b"alice:1:2 ",
        b"alice:1:0",
        b"alice:4294967295:1",
        b"alice:1:4294967295",
        b"alice:99999999999999999999:1",
        "alice:\u0661:2".encode(),
        b"alice:1:2\0",
    ],
)
def test_malformed_lines_are_skipped(line: bytes) -> None:
    assert parse_line(line) is None
    assert parse(line + b"\nalice:5:6\n", "alice", 1001) == [(5, 6)]


def test_a_last_line_without_newline_counts() -> None:
    assert parse(b"alice:5:6", "alice", 1) == [(5, 6)]


def test_a_user_without_a_name_is_found_by_number_and_takes_no_nameless_line() -> None:
    assert parse(b":1:2\n1001:3:4\n", "", 1001) == [(3, 4)]


@given(st.binary(max_size=400))
def test_any_bytes_give_only_valid_ranges(content: bytes) -> None:
    for start, count in parse(content, "alice", 1001):
        assert start >= 0
        assert count > 0
        assert start + count <= ID_LIMIT


@given(
    st.lists(st.tuples(st.sampled_from(["alice", "1001", "bob"]), st.integers(0, 2**33), st.integers(0, 2**33))),
)
def test_what_is_written_is_what_is_read(entries: list[tuple[str, int, int]]) -> None:
    content = "".join(f"{owner}:{start}:{count}\n" for owner, start, count in entries).encode()
    assert parse(content, "alice", 1001) == [
        (start, count) for owner, start, count in entries if owner != "bob" and count and start + count <= ID_LIMIT
    ]


@given(spans, spans, spans)
def test_clipping_keeps_exactly_what_is_allowed_and_not_taken_each_id_once(
    ranges: Spans, allowed: Spans, taken: Spans
) -> None:
    kept = clip(ranges, allowed, taken)
    assert ids(kept) == (ids(ranges) & ids(allowed)) - ids(taken)
    assert sum(count for _, count in kept) == len(ids(kept))
    assert all(count > 0 for _, count in kept)


def test_clipping_keeps_ranges_that_do_not_overlap_as_they_are() -> None:
    ranges = [(200000, 65536), (100000, 65536)]
    assert clip(ranges, [(0, ID_LIMIT)], [(1001, 1)]) == ranges


@pytest.mark.parametrize(
    ("nsswitch", "expected"),
    [
        (b"passwd: files\n", False),
        (b"subid: files\n", False),
        (b"subid:\n", False),
        (b"subid: # sss\n", False),
        (b"passwd: files\nsubid: sss\n", True),
        (b"subid:\tsss # comment", True),
        (b"# subid: sss\n", False),
    ],
)
def test_another_source_is_recognised(nsswitch: bytes, expected: bool) -> None:
    assert names_another_source(nsswitch) is expected
