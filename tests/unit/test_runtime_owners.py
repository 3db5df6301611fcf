"""Labels for SELinux, without SELinux: what would be labelled, and how."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rootless.errors import RootlessError
from rootless.runtime import owners


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    monkeypatch.setattr(owners, "_writable", os.dup)
    return os.open(tmp_path, os.O_PATH)


def test_everything_is_labelled_and_no_link_followed(
    tree: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled: dict[str, bytes] = {}

    def setxattr(path: str, name: str, value: bytes, follow_symlinks: bool) -> None:
        directory, _, last = path.removeprefix("/proc/self/fd/").partition("/")
        place = os.readlink(f"/proc/self/fd/{directory}") + (f"/{last}" if last else "")
        assert (name, follow_symlinks) == ("security.selinux", not last)
        labelled[os.path.relpath(place, tmp_path)] = value

    monkeypatch.setattr(os, "setxattr", setxattr)
    owners.relabel(tree, "a volume")
    os.close(tree)
    assert set(labelled) == {".", "sub", "sub/file", "link"}
    assert set(labelled.values()) == {b"system_u:object_r:container_file_t:s0\0"}


@pytest.mark.parametrize(("number", "fails"), [(errno.ENOTSUP, False), (errno.EPERM, True)])
def test_a_file_system_without_labels_needs_none(
    tree: int, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool
) -> None:
    def setxattr(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "setxattr", setxattr)
    if fails:
        with pytest.raises(RootlessError, match="labelling a volume"):
            owners.relabel(tree, "a volume")
    else:
        owners.relabel(tree, "a volume")
    os.close(tree)
