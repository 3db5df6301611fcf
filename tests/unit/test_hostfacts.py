"""Facts about the host, from the files in which the kernel tells them."""

from __future__ import annotations

import os
from pathlib import Path

from rootless.engine.hostfacts import cgroups, existing_ancestor, key_values, mount_of, mounts, read


def test_both_kinds_of_lines_are_read_and_quotes_taken_off(tmp_path: Path) -> None:
    file = tmp_path / "facts"
    file.write_text("NAME=\"A = b\"\nVERSION_ID='13'\nMemTotal:   12 kB\nNAME=later\n\nnothing\n")
    assert key_values(file) == {"NAME": "A = b", "VERSION_ID": "13", "MemTotal": "12 kB"}


def test_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ""
    assert key_values(tmp_path / "none") == {}


def test_a_path_lies_on_the_innermost_mount_even_before_it_exists() -> None:
    assert mount_of("/proc/self/not/there").fstype == "proc"
    assert mount_of("/").place == "/"
    assert {mount.place for mount in mounts()} >= {"/", "/proc"}


def test_the_nearest_directory_that_exists_is_found(tmp_path: Path) -> None:
    assert existing_ancestor(str(tmp_path / "a" / "b")) == str(tmp_path)
    assert existing_ancestor("/nowhere/at/all") == "/"


def test_what_is_delegated_can_be_written() -> None:
    found = cgroups()
    assert found.version in ("v1", "v2", "none")
    if found.delegated is not None:
        assert os.access(found.delegated / "cgroup.subtree_control", os.W_OK)
