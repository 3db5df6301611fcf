"""Opening, locking and deleting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootless.kernel.files import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    lock_file,
    openat2,
    reflink,
    remove_tree,
    sync_path,
    write_all,
)


def test_paths_resolved_in_a_root_never_leave_it(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("inside")
    (tmp_path / "absolute").symlink_to("/etc/passwd")
    (tmp_path / "upwards").symlink_to("../../../../../../etc/passwd")
    root = os.open(tmp_path, os.O_RDONLY)
    for name in ("absolute", "upwards", "/etc/passwd", "../../etc/passwd"):
        fd = openat2(root, name, os.O_RDONLY, 0, RESOLVE_IN_ROOT)
        assert os.read(fd, 100) == b"inside"
        assert not os.get_inheritable(fd)
        os.close(fd)
    with pytest.raises(OSError, match="openat2 absolute"):
        openat2(root, "absolute", os.O_RDONLY, 0, RESOLVE_BENEATH)
    os.close(root)


def test_a_lock_excludes_others_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    one = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    assert lock_file(one, exclusive=True, blocking=False)
    assert not lock_file(other, exclusive=False, blocking=False)
    os.close(one)
    assert lock_file(other, exclusive=True, blocking=False)
    os.close(other)


def test_a_clone_is_made_or_its_impossibility_told(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"x" * 65536)
    with open(tmp_path / "from", "rb") as source, open(tmp_path / "to", "wb") as target:
        done = reflink(target.fileno(), source.fileno())
    assert (tmp_path / "to").stat().st_size == (65536 if done else 0)


def test_files_and_directories_can_be_synced(tmp_path: Path) -> None:
    sync_path(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        sync_path(str(tmp_path / "none"))


def test_a_tree_goes_with_its_unreadable_directories_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").touch()
    (tree / "link").symlink_to(outside)
    (tree / "dangling").symlink_to("/nowhere")
    os.mkfifo(tree / "fifo")
    (tree / "a" / "b").chmod(0o500)
    (tree / "a").chmod(0)
    assert remove_tree(str(tree)) == []
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_a_link_is_removed_not_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "dir")
    assert remove_tree(str(tmp_path / "link")) == []
    assert (tmp_path / "dir").is_dir()


def test_a_tree_deeper_than_paths_and_descriptors_reach_goes_too(tmp_path: Path) -> None:
    import resource

    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d" * 20, dir_fd=fd)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))  # other tests may have left some open
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 60, hard))
    try:
        assert remove_tree(str(tmp_path / ("d" * 20))) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_exist_is_no_failure(tmp_path: Path) -> None:
    assert remove_tree(str(tmp_path / "none")) == []
    assert remove_tree(str(tmp_path / "none" / "deeper")) == []


def test_what_cannot_be_deleted_is_named() -> None:
    assert remove_tree("/etc/passwd") == ["/etc/passwd"]


def test_all_is_written_where_the_kernel_takes_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    def take_three(fd: int, data: memoryview) -> int:
        taken.append(bytes(data[:3]))
        return len(taken[-1])

    monkeypatch.setattr(os, "write", take_three)
    write_all(1, b"a whole line")
    assert taken == [b"a w", b"hol", b"e l", b"ine"]
