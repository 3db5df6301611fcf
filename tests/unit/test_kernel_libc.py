"""How a failed system call is told."""

from __future__ import annotations

import errno

import pytest

from rootless.errors import KernelError
from rootless.kernel.libc import Library, SyscallError, address_of, ioctl_number, libc, syscall, text
from rootless.kernel.mounts import MNT_DETACH, mount, umount


def test_a_failure_names_the_call_the_path_and_the_errno() -> None:
    with pytest.raises(SyscallError, match=r"^umount /nowhere: No such file or directory \(ENOENT\)$") as caught:
        umount("/nowhere", MNT_DETACH)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == "/nowhere"
    assert caught.value.exit_code == 125


def test_a_failure_is_an_error_of_ours_and_of_the_class_that_python_has_for_it() -> None:
    error = SyscallError(errno.ESRCH, "pidfd_open")
    assert isinstance(error, KernelError)
    assert isinstance(error, ProcessLookupError)
    assert type(SyscallError(errno.ELOOP, "openat2")) is SyscallError


def test_a_call_that_the_kernel_lacks_hints_at_why() -> None:
    with pytest.raises(SyscallError, match="ENOSYS") as caught:
        syscall(100000, "imaginary")
    assert caught.value.hint


def test_a_function_that_the_library_lacks_fails_as_a_missing_system_call() -> None:
    with pytest.raises(SyscallError, match=r"no_such_function.*ENOSYS"):
        libc.call("no_such_function", 1)


def test_a_library_that_is_missing_is_an_error_of_the_operating_system() -> None:
    with pytest.raises(OSError, match=r"libnothing\.so\.7"):
        Library("libnothing.so.7")


def test_a_nul_in_a_path_is_refused_and_never_taken_for_its_end() -> None:
    with pytest.raises(ValueError, match="NUL"):
        umount("/tmp\0/x")
    with pytest.raises(ValueError, match="NUL"):
        mount("/tmp\0x", "/nowhere", None)
    with pytest.raises(ValueError, match="NUL"):
        libc.call("sethostname", "a\0b", 3)


def test_names_that_are_not_utf8_reach_the_kernel_unchanged() -> None:
    assert text("a\udcff") == b"a\xff"


def test_negative_and_wide_integers_arrive_as_they_are() -> None:
    assert libc.call("abs", -5) == 5
    assert libc.call("labs", (1 << 40) + 7) == 7  # the result is an int: its upper half is cut


def test_an_address_is_that_of_the_bytes() -> None:
    buffer = b"abc"
    assert libc.call("strcmp", address_of(buffer), buffer) == 0


def test_ioctl_numbers_are_those_of_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.uname()
    for machine, clone, get_number in (
        ("x86_64", 0x40049409, 0x80045430),
        ("aarch64", 0x40049409, 0x80045430),
        ("ppc64le", 0x80049409, 0x40045430),
    ):
        monkeypatch.setattr(os, "uname", lambda machine=machine: os.uname_result((*real[:4], machine)))
        assert ioctl_number(True, 0x94, 9, 4) == clone
        assert ioctl_number(False, ord("T"), 0x30, 4) == get_number
