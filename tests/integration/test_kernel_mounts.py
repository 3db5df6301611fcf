"""Mounts by the old and the new interface, namespaces, seccomp: in namespaces of our own."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.kernel import mounts, namespaces
from rootless.kernel.idmaps import UserMap
from rootless.kernel.libc import SyscallError
from rootless.kernel.userns import UserNamespace


@pytest.fixture(scope="module")
def single() -> Iterator[UserNamespace]:
    namespace = UserNamespace.create(UserMap([(0, os.getuid(), 1)], [(0, os.getgid(), 1)], True))
    yield namespace
    namespace.close()


def options_of(path: str) -> str:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return next(line.split()[5] for line in file if line.split()[4] == path)


def test_a_file_system_is_configured_mounted_and_made_read_only(single: UserNamespace, tmp_path: Path) -> None:
    def inside(target: str) -> list[str]:
        context = mounts.fsopen("tmpfs")
        mounts.fsconfig_string(context, "size", "64k")
        mounts.fsconfig_create(context)
        mounted = mounts.fsmount(context, 0, mounts.MOUNT_ATTR_NODEV)
        mounts.move_mount(mounted, "", mounts.AT_FDCWD, target, mounts.MOVE_MOUNT_F_EMPTY_PATH)
        seen = [options_of(target)]
        mounts.mount_setattr(mounts.AT_FDCWD, target, mounts.AT_RECURSIVE, attr_set=mounts.MOUNT_ATTR_RDONLY)
        seen.append(options_of(target))
        mounts.umount(target, mounts.MNT_DETACH)
        return seen

    assert single.run(inside, str(tmp_path), mount_ns=True) == ["rw,nodev,relatime", "ro,nodev,relatime"]


def test_what_the_kernel_says_about_a_wrong_option_is_in_the_error(single: UserNamespace) -> None:
    def inside() -> str:
        context = mounts.fsopen("overlay")
        try:
            mounts.fsconfig_string(context, "no_such_option", "1")
        except SyscallError as error:
            return str(error)
        return ""

    said = single.run(inside, mount_ns=True)
    assert said.startswith("fsconfig no_such_option=1: Invalid argument (EINVAL): ")
    assert "no_such_option" in said.split("(EINVAL): ")[1]


def test_a_tree_is_copied_with_its_mounts(single: UserNamespace, tmp_path: Path) -> None:
    def inside(place: str) -> list[str]:
        for name in ("from", "to"):
            os.mkdir(f"{place}/{name}")
        mounts.mount("tmpfs", f"{place}/from", "tmpfs")
        os.mkdir(f"{place}/from/sub")
        mounts.mount("tmpfs", f"{place}/from/sub", "tmpfs")
        Path(place, "from/sub/file").touch()
        tree = mounts.open_tree(
            mounts.AT_FDCWD, f"{place}/from", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE | mounts.AT_SYMLINK_NOFOLLOW
        )
        mounts.move_mount(tree, "", mounts.AT_FDCWD, f"{place}/to", mounts.MOVE_MOUNT_F_EMPTY_PATH)
        return os.listdir(f"{place}/to/sub")

    assert single.run(inside, str(tmp_path), mount_ns=True) == ["file"]


def test_the_root_is_changed_by_pivoting(single: UserNamespace, tmp_path: Path) -> None:
    def inside(place: str) -> list[str]:
        mounts.mount("tmpfs", place, "tmpfs")
        os.mkdir(f"{place}/only")
        os.chdir(place)
        mounts.pivot_root(".", ".")
        mounts.umount(".", mounts.MNT_DETACH)
        os.chdir("/")
        return os.listdir("/")

    assert single.run(inside, str(tmp_path), mount_ns=True) == ["only"]


def test_a_mount_that_is_refused_names_type_and_target(single: UserNamespace, tmp_path: Path) -> None:
    with pytest.raises(SyscallError, match=f"^mount ext4 on {tmp_path}: "):
        single.run(mounts.mount, "/dev/null", str(tmp_path), "ext4", mount_ns=True)


def test_names_of_the_host_change_in_a_uts_namespace_only(single: UserNamespace) -> None:
    def inside() -> list[str]:
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        namespaces.set_hostname("other")
        namespaces.set_domainname("example")
        with open("/proc/sys/kernel/domainname", encoding="ascii") as file:
            return [os.uname().nodename, file.read().strip()]

    before = os.uname().nodename
    assert single.run(inside) == ["other", "example"]
    assert os.uname().nodename == before


def test_all_namespaces_of_a_process_are_entered_through_its_pidfd(single: UserNamespace) -> None:
    from rootless.kernel.pidfd import open_pidfd

    def inside() -> bool:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            namespaces.unshare(namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC)
            os.write(writer, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(reader, 1)
        theirs = [namespaces.namespace_id(pid, kind) for kind in ("uts", "ipc")]
        other = namespaces.open_namespace(pid, "uts")
        namespaces.setns(open_pidfd(pid), namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC)
        ours = [namespaces.namespace_id("self", kind) for kind in ("uts", "ipc")]
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return ours == theirs and os.stat(other).st_ino == theirs[0]

    assert single.run(inside)


def test_entering_what_is_no_namespace_names_the_kind() -> None:
    with open("/dev/null", "rb") as null, pytest.raises(SyscallError, match=r"setns\(net\): .*EINVAL"):
        namespaces.setns(null.fileno(), namespaces.CLONE_NEWNET)


def test_a_filter_is_loaded_and_holds() -> None:
    # ld [0] (the call's number); jeq 0xffff: errno 99, else allow. No such call exists: only the filter answers so.
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in ((0x20, 0, 0, 0), (0x15, 0, 1, 0xFFFF), (6, 0, 0, 0x50000 | 99), (6, 0, 0, 0x7FFF0000))
    )
    code = (
        "from rootless.kernel import process, seccomp\nfrom rootless.kernel.libc import SyscallError, syscall\n"
        f"process.set_no_new_privs(); seccomp.load_filter({program!r}); "
        f"seccomp.load_filter({program!r}, seccomp.SECCOMP_FILTER_FLAG_LOG)\n"
        "try: syscall(0xffff, 'nothing')\nexcept SyscallError as error: print(error.errno)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "99\n"


def test_bytes_that_are_no_filter_are_refused() -> None:
    from rootless.kernel.seccomp import load_filter

    for program in (b"", b"1234567", b"12345678" * 5000):
        with pytest.raises(ValueError, match="seccomp filter"):
            load_filter(program)
