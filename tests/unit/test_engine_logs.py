"""Reading a log back: what is found together is what would be found line by line."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.engine.logs.formats import entries, parse

TIMES = [b"2024-01-02T03:04:05.000000001Z", b"2024-01-02T03:04:05.000000002Z"]
line = st.builds(
    lambda time, stream, kind, data: b"%s %s %s %s" % (time, stream, kind, data),
    st.sampled_from(TIMES),
    st.sampled_from([b"stdout", b"stderr"]),
    st.sampled_from([b"F", b"F", b"F", b"P"]),
    st.one_of(st.sampled_from([b"", b" ", b"x" * 700, TIMES[0] + b" stdout F "]), st.binary(max_size=9)),
).map(lambda text: text.replace(b"\n", b"?"))
lines = st.lists(st.one_of(st.lists(line, max_size=3), st.builds(lambda one, n: [one] * n, line, st.integers(1, 40))))


def read(block: bytes) -> list[tuple[bytes, int, bool, bytes]]:
    return [
        (entry.time, entry.stream, entry.partial, data)
        for entry in entries(block)
        for data in ([entry.data] if entry.partial else entry.data.split(b"\n"))
    ]


@given(lines)
@settings(deadline=None)
def test_the_same_as_line_by_line(groups: list[list[bytes]]) -> None:
    written = [one for group in groups for one in group]
    singly = [parse(one) for one in written]
    expected = [(entry.time, entry.stream, entry.partial, entry.data) for entry in singly]
    assert read(b"".join(one + b"\n" for one in written)) == expected


def test_lines_that_were_written_at_once_are_found_at_once() -> None:
    head = TIMES[0] + b" stdout F "
    (entry,) = entries((head + b"a line\n") * 9999)
    assert entry.data == b"\n".join([b"a line"] * 9999)


def test_what_a_crash_has_left_is_passed_over() -> None:
    head = TIMES[0] + b" stdout F "
    assert [one[3] for one in read(head + b"a\n2024-01\n\n" + head + b"b\n" + head + b"c\n")] == [b"a", b"b", b"c"]
