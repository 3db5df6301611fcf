"""Processes by descriptor, and what a process may say about itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rootless.errors import UsageError
from rootless.kernel import capabilities, pidfd


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def test_a_process_that_was_written_down_is_found_again(sleeper: subprocess.Popen[bytes]) -> None:
    start = pidfd.start_time(sleeper.pid)
    assert start is not None
    fd = pidfd.open_if_same(sleeper.pid, start, pidfd.realm())
    assert fd is not None
    assert not pidfd.wait_exit(fd, 10)
    assert pidfd.send(fd, signal.SIGTERM)
    assert pidfd.wait_exit(fd, 5000)
    os.close(fd)
    assert sleeper.wait() == -signal.SIGTERM


def test_another_start_time_or_another_boot_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    start = pidfd.start_time(sleeper.pid)
    assert start is not None
    assert pidfd.open_if_same(sleeper.pid, start + 1, pidfd.realm()) is None
    assert pidfd.open_if_same(sleeper.pid, start, "another boot") is None
    assert pidfd.open_if_same(0, start, pidfd.realm()) is None
    assert pidfd.open_if_same(-1, start, pidfd.realm()) is None


def test_a_process_that_ended_is_gone_even_before_it_is_reaped(sleeper: subprocess.Popen[bytes]) -> None:
    start = pidfd.start_time(sleeper.pid)
    assert start is not None
    fd = pidfd.open_pidfd(sleeper.pid)
    pidfd.send(fd, signal.SIGKILL)
    assert pidfd.wait_exit(fd, 5000)
    assert pidfd.open_if_same(sleeper.pid, start, pidfd.realm()) is None
    sleeper.wait()
    assert not pidfd.send(fd, signal.SIGKILL)
    os.close(fd)
    assert pidfd.start_time(sleeper.pid) is None
    with pytest.raises(ProcessLookupError):
        pidfd.open_pidfd(sleeper.pid)


def test_a_command_name_with_spaces_and_parentheses_does_not_shift_the_start_time() -> None:
    code = (
        "import os; from rootless.kernel import pidfd, process; before = pidfd.start_time(os.getpid()); "
        "process.set_process_name(') 1 (x) 7'); assert pidfd.start_time(os.getpid()) == before is not None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def in_child(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_descriptors_are_closed_from_the_first_to_the_last_asked_for() -> None:
    code = (
        "import os; from rootless.kernel.process import close_range\n"
        "for fd in range(10, 15): os.dup2(0, fd)\n"
        "close_range(10, 11); close_range(13); close_range(20, 19)\n"
        "close_range(12, 12, cloexec=True)\n"
        "def is_open(fd):\n"
        "    try: os.fstat(fd)\n"
        "    except OSError: return False\n"
        "    return True\n"
        "print([fd for fd in range(10, 15) if is_open(fd)], os.get_inheritable(12), is_open(2))"
    )
    assert in_child(code) == "[12] False True"


def test_limits_and_no_new_privs_are_set() -> None:
    code = (
        "import resource; from rootless.kernel import process\n"
        "process.set_rlimits([(resource.RLIMIT_NOFILE, 64, 128), (resource.RLIMIT_CORE, 0, -1)])\n"
        "process.set_no_new_privs()\n"
        "status = open('/proc/self/status').read()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)[1] == -1,\n"
        "      'NoNewPrivs:\\t1' in status)"
    )
    assert in_child(code) == "(64, 128) True True"


def test_a_subreaper_inherits_orphans() -> None:
    code = (
        "import os; from rootless.kernel import process\n"
        "process.become_subreaper()\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.read(r, 1); os._exit(7)\n"
        "    os._exit(0)\n"
        "os.wait(); os.write(w, b'x'); print(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert in_child(code) == "7"


def test_a_child_dies_with_its_parent() -> None:
    code = (
        "import os; from rootless.kernel import pidfd, process\n"
        "process.become_subreaper()\n"
        "r, w = os.pipe()\n"
        "middle = os.fork()\n"
        "if middle == 0:\n"
        "    if os.fork() == 0:\n"
        "        process.set_parent_death_signal(9); os.write(w, b'x')\n"
        "        import time; time.sleep(60)\n"
        "    import time; time.sleep(60)\n"
        "os.read(r, 1); os.kill(middle, 9)\n"
        "print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in 'ab'))"
    )
    assert in_child(code) == "[-9, -9]"


def test_capability_names_and_masks_agree() -> None:
    assert capabilities.mask(["CAP_CHOWN", "sys_admin", "cap_kill"]) == 1 | 1 << 21 | 1 << 5
    assert capabilities.names(1 << 21 | 1) == ["CAP_CHOWN", "CAP_SYS_ADMIN"]
    assert capabilities.mask(["all"]) == (2 << capabilities.last_capability()) - 1
    assert capabilities.mask(capabilities.names(capabilities.mask(capabilities.DEFAULT))) == 0x800405FB


def test_the_last_capability_is_the_kernels() -> None:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        assert capabilities.last_capability() == int(file.read())


def test_an_unknown_capability_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="CAP_NOTHING"):
        capabilities.mask(["CAP_NOTHING"])


def test_capabilities_beyond_the_permitted_are_refused() -> None:
    with pytest.raises(PermissionError, match="capset"):
        capabilities.set_capabilities(1 << 21, 1 << 21, 0)
