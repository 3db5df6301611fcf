"""Work inside a user namespace, in a forked child."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.errors import ConflictError, KernelError, RootlessError
from rootless.kernel import namespaces, pidfd
from rootless.kernel.capabilities import drop_bounding, mask, set_ambient, set_capabilities
from rootless.kernel.files import remove_tree
from rootless.kernel.idmaps import UserMap, default_user_map, identity_of
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import mount
from rootless.kernel.userns import UserNamespace


@pytest.fixture(scope="module")
def mapped() -> Iterator[UserNamespace]:
    user_map = default_user_map()
    if user_map.single:
        pytest.skip(f"needs subordinate ids: {user_map.reason}")
    namespace = UserNamespace.create(user_map)
    yield namespace
    namespace.close()


@pytest.fixture(params=["mapped", "single"])
def either(request: pytest.FixtureRequest) -> Iterator[UserNamespace]:
    if request.param == "mapped":
        yield request.getfixturevalue("mapped")
    else:
        namespace = UserNamespace.create(UserMap([(0, os.getuid(), 1)], [(0, os.getgid(), 1)], True, "for the test"))
        yield namespace
        namespace.close()


def test_the_child_is_root_over_subordinate_ids(mapped: UserNamespace, tmp_path: Path) -> None:
    def inside(path: str) -> list[int]:
        os.mkdir(path, 0o700)
        os.mkdir(path + "/deep")
        os.chown(path, 33, 44)
        return [*os.getresuid(), *os.getresgid(), *os.getgroups()]

    path = tmp_path / "theirs"
    assert mapped.run(inside, str(path)) == [0] * 6
    assert path.stat().st_uid == identity_of(default_user_map(), 33)
    assert remove_tree(str(path)) == [str(path)]
    assert mapped.run(remove_tree, str(path)) == []
    assert not path.exists()


def test_the_child_is_root_in_either_kind_of_namespace(either: UserNamespace) -> None:
    assert either.run(os.getuid) == 0
    assert either.run(namespaces.namespace_id, "self", "user") == os.stat(either.fd).st_ino
    assert namespaces.namespace_id("self", "user") != os.stat(either.fd).st_ino


def test_only_the_descriptors_asked_for_are_open_in_the_child(either: UserNamespace) -> None:
    reader, writer = os.pipe()
    opened = either.run(lambda: [int(name) for name in os.listdir("/proc/self/fd")], keep_fds=[writer])
    os.close(reader)
    os.close(writer)
    assert writer in opened
    assert reader not in opened or reader in (0, 1, 2)
    assert len(opened) <= 6  # 0-2, the result's pipe, the one asked for, the listing itself


def test_a_chroot_and_a_private_mount_namespace_stay_in_the_child(either: UserNamespace, tmp_path: Path) -> None:
    (tmp_path / "inside").touch()

    def inside() -> list[str]:
        os.mkdir("/mnt")
        mount("tmpfs", "/mnt", "tmpfs")
        open("/mnt/x", "w").close()
        return sorted(os.listdir("/") + os.listdir("/mnt") + [os.getcwd()])

    assert either.run(inside, chroot=str(tmp_path), mount_ns=True) == ["/", "inside", "mnt", "x"]
    assert list((tmp_path / "mnt").iterdir()) == []


def test_a_result_larger_than_a_pipe_arrives(either: UserNamespace) -> None:
    assert either.run(lambda: [b"x" * 1000] * 5000) == [b"x" * 1000] * 5000


def test_errors_come_back_as_what_they_were(either: UserNamespace) -> None:
    def ours() -> None:
        raise ConflictError("naming it: taken", "another name", 7)

    with pytest.raises(ConflictError, match="naming it: taken") as caught:
        either.run(ours)
    assert (caught.value.hint, caught.value.exit_code) == ("another name", 7)
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        either.run(os.listdir, "/nowhere")
    with pytest.raises(SyscallError, match=r"mount tmpfs on /nowhere: .*ENOENT") as refused:
        either.run(mount, "x", "/nowhere", "tmpfs")
    assert isinstance(refused.value, FileNotFoundError)
    with pytest.raises(KernelError, match="ValueError: invalid literal") as unexpected:
        either.run(int, "x")
    assert "Traceback" in unexpected.value.__notes__[0]


def test_an_error_class_that_is_not_known_here_becomes_the_nearest_that_is(either: UserNamespace) -> None:
    class Special(ConflictError):
        pass

    def inside() -> None:
        raise Special("a: b")

    with pytest.raises(ConflictError, match="a: b"):
        either.run(inside)


def test_a_result_that_cannot_travel_is_an_error(either: UserNamespace) -> None:
    with pytest.raises(KernelError, match="unmarshallable"):
        either.run(object)


def test_a_child_that_is_killed_is_an_error_that_says_so(either: UserNamespace) -> None:
    with pytest.raises(RootlessError, match="signal 9"):
        either.run(lambda: os.kill(os.getpid(), 9))


def test_a_long_running_child_works_beside_us_and_can_be_killed(either: UserNamespace) -> None:
    slow, quick = either.spawn(time.sleep, 60), either.spawn(os.getuid)
    assert quick.result() == 0
    watch = pidfd.open_pidfd(slow.pid)
    slow.kill()
    assert pidfd.wait_exit(watch, 0)
    os.close(watch)
    slow.kill()


def test_the_child_dies_with_us(either: UserNamespace) -> None:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        child = either.spawn(time.sleep, 60)
        os.write(writer, b"%d" % child.pid)
        time.sleep(60)
    pid = int(os.read(reader, 20))
    watch = pidfd.open_pidfd(pid)
    os.kill(middle, 9)
    os.waitpid(middle, 0)
    assert pidfd.wait_exit(watch, 5000)
    for fd in (reader, writer, watch):
        os.close(fd)


def test_capabilities_are_cut_down_to_the_mask(mapped: UserNamespace) -> None:
    def inside() -> list[str]:
        kept = mask(["CAP_CHOWN", "CAP_SETPCAP"])
        drop_bounding(kept)
        set_capabilities(kept, kept, kept)
        set_ambient(kept)
        with open("/proc/self/status", encoding="ascii") as file:
            return [line.split()[1] for line in file if line.startswith("Cap")]

    assert mapped.run(inside) == ["0000000000000101"] * 5


def test_ids_that_are_not_ours_are_refused_with_the_tools_words() -> None:
    with pytest.raises(KernelError, match=r"newuidmap: uid range .* not allowed") as caught:
        UserNamespace.create(UserMap([(0, os.getuid(), 1), (1, 5, 1)], [(0, os.getgid(), 1)]))
    assert caught.value.hint


def test_no_descriptor_and_no_process_is_left(mapped: UserNamespace) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    UserNamespace.create(default_user_map()).close()
    mapped.run(os.getpid)
    mapped.spawn(time.sleep, 60).kill()
    with pytest.raises(KernelError):
        UserNamespace.create(UserMap([(0, 5, 1)], [(0, 5, 1)]))
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_limit_of_processes_is_told_and_nothing_leaks() -> None:
    code = (
        "import os, resource\nfrom rootless.kernel.idmaps import default_user_map\n"
        "from rootless.kernel.userns import UserNamespace\n"
        "user_map = default_user_map(); namespace = UserNamespace.create(user_map)\n"
        "before = os.listdir('/proc/self/fd'); resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
        "for call in (lambda: UserNamespace.create(user_map), lambda: namespace.run(os.getpid)):\n"
        "    try: call()\n"
        "    except OSError as error: print(error, '|', error.hint)\n"
        "assert os.listdir('/proc/self/fd') == before"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    expected = "fork: Resource temporarily unavailable (EAGAIN) | too many processes"
    assert [line[: len(expected)] for line in output.splitlines()] == [expected] * 2


def test_a_helper_that_vanishes_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    user_map = default_user_map()
    if user_map.single:
        pytest.skip(f"needs subordinate ids: {user_map.reason}")
    (tmp_path / "newuidmap").symlink_to(shutil.which("newuidmap") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KernelError, match="newgidmap is not installed"):
        UserNamespace.create(user_map)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_interrupted_wait_ends_the_child(either: UserNamespace) -> None:
    child = either.spawn(time.sleep, 60)
    watch = pidfd.open_pidfd(child.pid)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            child.result()
    finally:
        signal.signal(signal.SIGALRM, former)
    assert pidfd.wait_exit(watch, 0)
    os.close(watch)
