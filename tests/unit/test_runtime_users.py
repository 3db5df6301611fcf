"""Users of an image: rootless.runtime.users on /etc/passwd and /etc/group of any quality."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import RootlessError, UsageError
from rootless.runtime.users import find_user, look_up, read_small_file

PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\nbin:x:2:2::/bin:/bin/false\nweb:x:101:1000:Web,,,:/srv/web:\n1234:x:9:9::/n:\n"
)
GROUP = b"root:x:0:\nwheel:x:10:root,web\nweb:x:1000:\nbig:x:4000000000:web\ntape:x:26:bin,web\n"


def shown(spec: str) -> tuple[int, int, list[int], str]:
    user = look_up(spec, PASSWD, GROUP)
    return user.uid, user.gid, user.groups, user.home


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", (0, 0, [0, 10], "/root")),
        ("root", (0, 0, [0, 10], "/root")),
        ("web", (101, 1000, [1000, 10, 26], "/srv/web")),
        ("101", (101, 1000, [1000, 10, 26], "/srv/web")),
        ("web:tape", (101, 26, [26], "/srv/web")),
        ("web:77", (101, 77, [77], "/srv/web")),
        ("5000", (5000, 0, [0], "")),
        ("5000:web", (5000, 1000, [1000], "")),
        (":web", (0, 1000, [1000], "/root")),
        ("web:", (101, 1000, [1000, 10, 26], "/srv/web")),
        ("1234", (9, 9, [9], "/n")),
        ("0101", (101, 1000, [1000, 10, 26], "/srv/web")),
    ],
)
def test_users_are_resolved_as_docker_does(spec: str, expected: tuple[int, int, list[int], str]) -> None:
    assert shown(spec) == expected


@pytest.mark.parametrize(
    "spec", ["nobody", "root:nogroup", "99999999999", "2147483648", "0:2147483648", "-1", "web:-1", "٣"]
)
def test_a_user_that_cannot_be_is_named(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        look_up(spec, PASSWD, GROUP)
    assert spec in caught.value.message


def test_without_files_numbers_and_root_still_work() -> None:
    assert (look_up("7:8", b"", b"").uid, look_up("7:8", b"", b"").gid) == (7, 8)
    assert look_up("", b"", b"").uid == 0


@pytest.mark.parametrize(
    "line",
    [b"web", b"web:x", b"web:x:abc:0:::", b"web:x:1:0", b":x:0:0:::", b"web:x::0:::", b"web:x:-1:0:::", b"\xff\xfe"],
)
def test_malformed_lines_are_no_entries(line: bytes) -> None:
    assert find_user(line + b"\n", "web") is None


def test_entries_of_ids_beyond_all_limits_are_refused() -> None:
    with pytest.raises(UsageError):
        find_user(b"web:x:4294967296:0::/:\n", "web")


def test_names_that_are_not_utf8_are_found() -> None:
    name = os.fsdecode(b"caf\xe9")
    assert find_user(b"caf\xe9:x:5:6::/h:\n", name) == (name, 5, 6, "/h")


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=20))
def test_whatever_the_files_hold_the_outcome_is_a_user_or_a_clear_error(passwd: bytes, group: bytes, spec: str) -> None:
    try:
        user = look_up(spec, passwd, group)
    except UsageError:
        return
    except UnicodeEncodeError:
        return  # a lone surrogate cannot come from a command line
    assert 0 <= user.uid < 2**31
    assert 0 <= user.gid < 2**31
    assert all(0 <= gid < 2**31 for gid in user.groups)


def test_a_fifo_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passwd")
    with pytest.raises(RootlessError, match="not a regular file"):
        read_small_file(str(tmp_path / "passwd"))


def test_a_device_does_not_feed_us_for_ever() -> None:
    with pytest.raises(RootlessError, match="not a regular file"):
        read_small_file("/dev/zero")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "passwd").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RootlessError):
        read_small_file(str(tmp_path / "passwd"))


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_small_file(str(tmp_path / "passwd")) == b""
