"""Id maps as values, and finding what writes them."""

from __future__ import annotations

import marshal
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.kernel.idmaps import UserMap, _in_sequence, find_program, identity_of, own_ids, privilege_of

ranges = st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 2**31)), max_size=500)


def test_a_map_survives_being_made_plain() -> None:
    user_map = UserMap([(0, 1001, 1), (1, 100000, 65536)], [(0, 1001, 1)], True, "because")
    plain = marshal.loads(marshal.dumps(user_map.as_plain()))
    assert UserMap.from_plain(plain) == user_map


def test_an_identity_is_looked_up_in_the_right_range() -> None:
    user_map = UserMap([(0, 1001, 1), (1, 100000, 65536)], [])
    assert identity_of(user_map, 0) == 1001
    assert identity_of(user_map, 1) == 100000
    assert identity_of(user_map, 65536) == 165535
    assert identity_of(user_map, 65537) is None


@given(ranges)
def test_ranges_in_sequence_leave_no_gap_and_stay_within_what_the_kernel_takes(spans: list[tuple[int, int]]) -> None:
    rows = _in_sequence(spans)
    assert len(rows) <= 340
    inside = 0
    for (first, outside, count), (start, width) in zip(rows, spans, strict=False):
        assert first == inside
        assert outside == start
        assert 0 < count <= width
        inside += count
    assert inside <= 0xFFFFFFFF


def test_our_own_namespace_has_ids() -> None:
    assert any(start <= os.getuid() < start + count for start, count in own_ids("uid"))


def test_a_program_is_found_in_the_path_and_never_in_a_relative_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "tool"
    tool.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert find_program("tool") is None  # not executable
    tool.chmod(0o755)
    assert find_program("tool") == str(tool)
    monkeypatch.setenv("PATH", ":.:")
    assert find_program("tool") is None


def test_an_ordinary_program_has_no_privilege(tmp_path: Path) -> None:
    tool = tmp_path / "newuidmap"
    tool.touch(0o755)
    assert privilege_of(str(tool)) == f"{tool} is neither set-user-ID root nor has it file capabilities"
    tool.chmod(0o4755)  # set-user-ID, but to us
    assert privilege_of(str(tool)) is not None
