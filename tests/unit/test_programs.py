"""Versions and packages of helper programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rootless.engine.programs import install_command, packages_of, run_quickly, version_number


@pytest.mark.parametrize(
    ("program", "text", "expected"),
    [
        ("slirp4netns", "slirp4netns version 1.2.0\ncommit: 656041d\nlibslirp: 4.7.0", (1, 2, 0)),
        ("slirp4netns", "slirp4netns version 0.4.0-beta.1+dev", (0, 4, 0)),
        ("fuse-overlayfs", "fusermount3 version: 3.14.0\nfuse-overlayfs: version 1.10\nFUSE library 3.14", (1, 10)),
        ("pasta", "pasta unknown version\nCopyright Red Hat", ()),
        ("slirp4netns", "", ()),
    ],
)
def test_a_version_is_that_of_the_program_and_not_of_its_libraries(
    program: str, text: str, expected: tuple[int, ...]
) -> None:
    assert version_number(program, text) == expected


def test_a_file_of_no_package_hides_not_the_package_of_another(tmp_path: Path) -> None:
    if not shutil.which("dpkg-query"):
        pytest.skip("needs dpkg")
    (tmp_path / "own").touch()
    found = packages_of(["/bin/sh", str(tmp_path / "own"), "/usr/bin/dpkg-query"])
    assert found[str(tmp_path / "own")] == "Unknown"
    assert found["/usr/bin/dpkg-query"].startswith("dpkg_")


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "apt-get install -y uidmap passt slirp4netns"),
        ("dnf", "dnf install -y shadow-utils passt slirp4netns"),
        ("pacman", "pacman -S --noconfirm shadow passt slirp4netns"),
        ("apk", "apk add shadow-subids passt slirp4netns"),
    ],
)
def test_packages_are_called_what_each_distribution_calls_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str, command: str
) -> None:
    (tmp_path / manager).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install_command("newuidmap", "pasta", "slirp4netns") == command


def test_a_program_that_is_missing_or_fails_says_nothing() -> None:
    assert run_quickly("/nowhere/program") == ""
    assert run_quickly("sh", "-c", "echo words; exit 1") == ""
    assert run_quickly("sh", "-c", "echo words; exit 1", check=False) == "words"
