"""The small parts of the runtime that need no namespaces: mount options, messages, the search for a program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import CannotInvokeError, CommandNotFoundError, ImageError, KernelError, RootlessError, UsageError
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_SHARED,
    MS_SLAVE,
)
from rootless.runtime.channel import describe_error, pair, restore_error
from rootless.runtime.execute import environment_of, find_program
from rootless.runtime.inside import mount_point, open_inside
from rootless.runtime.mountoptions import MountOptions
from rootless.runtime.reentry import function_of, interpreter_is_exposed, name_of


def test_flags_become_attributes_and_the_rest_is_the_file_systems() -> None:
    options = MountOptions(["nosuid", "noexec", "nodev", "ro", "mode=755", "size=64k", "newinstance", "sync"])
    assert options.attributes == MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY
    assert options.data == [("mode", "755"), ("size", "64k"), ("newinstance", None), ("sync", None)]
    assert not options.bind


@pytest.mark.parametrize(
    ("words", "attributes"),
    [
        (["ro", "rw"], 0),
        (["rw", "ro"], MOUNT_ATTR_RDONLY),
        (["noexec", "exec"], 0),
        (["rro"], MOUNT_ATTR_RDONLY),
        ([], 0),
    ],
)
def test_of_contrary_options_the_last_counts(words: list[str], attributes: int) -> None:
    assert MountOptions(words).attributes == attributes


def test_binds_know_their_reach() -> None:
    options = MountOptions(["rbind", "rshared"])
    assert (options.bind, options.recursive) == (True, True)
    assert (options.propagation, options.propagation_recursive) == (MS_SHARED, True)
    assert (MountOptions(["bind", "slave"]).propagation, MountOptions(["bind"]).recursive) == (MS_SLAVE, False)


@pytest.mark.parametrize("option", ["remount", "idmap", "ridmap"])
def test_options_that_do_nothing_here_are_refused(option: str) -> None:
    with pytest.raises(UsageError, match=option):
        MountOptions([option])


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.binary(), st.lists))
def test_messages_arrive_as_they_were_sent(value: object) -> None:
    one, other = pair()
    one.send("kind", value)
    assert other.receive() == ("kind", value, None)
    one.close()
    with pytest.raises(EOFError):
        other.receive()
    other.close()


def test_a_descriptor_travels_with_a_message() -> None:
    one, other = pair()
    reader, writer = os.pipe()
    one.send("here", fd=writer)
    os.close(writer)
    _, _, received = other.receive()
    assert received is not None
    assert not os.get_inheritable(received)
    os.write(received, b"x")
    assert os.read(reader, 10) == b"x"
    for fd in (received, reader):
        os.close(fd)
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (CommandNotFoundError("a", "b"), CommandNotFoundError, 127),
        (CannotInvokeError("a"), CannotInvokeError, 126),
        (ImageError("a"), ImageError, 125),
        (SyscallError(2, "open", "/x"), KernelError, 125),
        (RootlessError("a", exit_code=3), RootlessError, 3),
        (FileNotFoundError(2, "No such file", "/x"), KernelError, 125),
        (ZeroDivisionError("oops"), RootlessError, 125),
    ],
)
def test_errors_come_back_as_what_they_were(error: Exception, kind: type[RootlessError], code: int) -> None:
    restored = restore_error(describe_error(error))
    assert (type(restored), restored.exit_code) == (kind, code)


def test_the_last_of_several_values_counts() -> None:
    assert environment_of(["A=1", "B=x=y\nz", "A=2", "C="]) == {"A": "2", "B": "x=y\nz", "C": ""}


def test_the_search_skips_what_cannot_run(tmp_path: Path) -> None:
    for name, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").touch(mode)
    (tmp_path / "third/tool").mkdir(parents=True)
    search = f"relative::{tmp_path}/nowhere:{tmp_path}/third:{tmp_path}/first:{tmp_path}/second"
    assert find_program("tool", search) == f"{tmp_path}/second/tool"
    with pytest.raises(CannotInvokeError):
        find_program("tool", f"{tmp_path}/first:{tmp_path}/third")
    with pytest.raises(CommandNotFoundError):
        find_program("tool", "")
    assert find_program("./tool", "") == "./tool"


names = st.sampled_from(["a", "b", "link", "up", "out", "..", ".", "", "loop"])


@given(st.lists(names, min_size=1, max_size=6).map("/".join))
def test_no_path_leads_out_of_the_root(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    place = tmp_path_factory.mktemp("paths")
    root = place / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "link").symlink_to("/a/missing")
    (root / "up").symlink_to("../../../../x")
    (root / "out").symlink_to(str(place))
    (root / "loop").symlink_to("loop")
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        made = mount_point(descriptor, path, directory=True)
    except ImageError:
        pass
    else:
        assert os.readlink(f"/proc/self/fd/{made}").startswith(str(root))
        os.close(made)
    finally:
        os.close(descriptor)
    assert os.listdir(place) == ["root"]


def test_a_file_is_made_behind_a_link_that_dangles(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    root = os.open(tmp_path, os.O_PATH)
    os.close(mount_point(root, "/etc/resolv.conf", directory=False))
    assert (tmp_path / "run/resolve/stub.conf").is_file()
    os.close(open_inside(root, "/etc/resolv.conf"))
    os.close(root)


def test_a_function_is_found_by_its_name() -> None:
    assert function_of(name_of(find_program)) is find_program


def test_a_system_interpreter_is_not_exposed() -> None:
    found = os.stat("/proc/self/exe")
    assert interpreter_is_exposed() == (found.st_uid == os.geteuid() or bool(found.st_mode & 0o022))
