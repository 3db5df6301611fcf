"""Logs in places where none can be, lines without end, followers that do not read, clocks that jump."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.engine.logs.formats import Entry
from rootless.engine.logs.read import print_logs
from rootless.engine.logs.voice import Choice, Voice
from rootless.engine.monitor.logfile import stamp
from tests.support.command import Rootless, executable, wait_until


@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
@pytest.mark.parametrize("size", [[], ["--log-opt", "max-size=1m", "--log-opt", "max-file=100"]])
def test_lines_of_ten_megabytes(rl: Rootless, image: str, driver: str, size: list[str]) -> None:
    script = "head -c 10000000 /dev/urandom | tr -d '\\n'; echo; head -c 3000000 /dev/zero | tr '\\0' z; echo; echo end"
    words = ["run", "--name", "c", "--network", "none", "--log-driver", driver, *size, image, "sh", "-c", script]
    shown = subprocess.run([executable(), *words], env=rl.environment, stdout=subprocess.PIPE, check=True).stdout
    assert len(shown) > 12_900_000
    read = subprocess.run([executable(), "logs", "c"], env=rl.environment, stdout=subprocess.PIPE, check=True).stdout
    assert read == shown
    assert rl.out("logs", "--tail", "2", "c") == "z" * 3000000 + "\nend"


@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
def test_a_full_disk_costs_the_log_and_nothing_else(rl: Rootless, image: str, driver: str) -> None:
    options = ["--log-driver", driver, "--log-opt", "path=/dev/full", "--log-opt", "max-size=1k"]
    out = rl.out("run", "--name", "c", "--network", "none", *options, image, "seq", "1", "9999")
    assert out.endswith("\n9999")
    done = rl("logs", "c", check=False)
    assert done.returncode == 125
    assert "keeps nothing" in done.stderr


def test_a_log_where_a_directory_is(rl: Rootless, image: str, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    option = f"path={tmp_path}/log"
    done = rl("run", "--name", "c", "--network", "none", "--log-opt", option, image, "true", check=False)
    assert done.returncode == 125
    assert f"opening the log {tmp_path}/log: Is a directory" in done.stderr
    (tmp_path / "log").rmdir()
    rl("start", "-a", "c")
    (tmp_path / "log").unlink()
    (tmp_path / "log").mkdir()
    done = rl("logs", "c", check=False)
    assert done.returncode == 125
    assert "it is a directory" in done.stderr


@pytest.mark.parametrize("what", ["directory", "fifo", "unreadable"])
def test_what_is_no_log_among_those_that_were_begun_anew_is_passed_over(
    rl: Rootless, image: str, tmp_path: Path, what: str
) -> None:
    options = ["--log-opt", f"path={tmp_path}/log", "--log-opt", "max-size=1k", "--log-opt", "max-file=4"]
    rl("run", "--name", "c", "--network", "none", *options, image, "seq", "1", "300")
    strange = tmp_path / "log.1"
    if what == "unreadable":
        strange.chmod(0)
    else:
        strange.unlink()
        strange.mkdir() if what == "directory" else os.mkfifo(strange)
    for options in ([], ["-f"], ["--tail", "3"]):
        read = rl("logs", *options, "c", timeout=20).stdout.splitlines()
        assert read[-1] == "300"
    assert len(rl.out("logs", "c").splitlines()) > len((tmp_path / "log").read_text().splitlines())


def test_a_log_that_is_a_link_is_written_through_and_begun_anew_beside_it(
    rl: Rootless, image: str, tmp_path: Path
) -> None:
    (tmp_path / "log").symlink_to("far")
    options = ["--log-opt", f"path={tmp_path}/log", "--log-opt", "max-size=1k", "--log-opt", "max-file=99"]
    rl("run", "--name", "c", "--network", "none", *options, image, "seq", "1", "99")
    assert rl.out("logs", "c").split() == [str(number) for number in range(1, 100)]


def test_a_log_that_is_read_as_a_fifo_holds_up_nobody(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("run", "--name", "c", "--network", "none", "--log-opt", f"path={tmp_path}/log", image, "echo", "x")
    (tmp_path / "log").unlink()
    os.mkfifo(tmp_path / "log")
    done = rl("logs", "c", check=False, timeout=10)
    assert done.returncode == 125
    assert "keeps nothing" in done.stderr


def test_a_follower_that_is_stopped_holds_up_no_end(rl: Rootless, image: str) -> None:
    words = ["run", "-d", "--name", "c", "--network", "none", "--log-opt", "max-size=1k", image]
    rl(*words, "sh", "-c", "echo x; sleep 100")
    process = rl.popen("logs", "-f", "c")
    assert process.stdout is not None
    assert process.stdout.readline() == b"x\n"
    process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    rl("rm", "-f", "-t", "0", "c")
    assert time.monotonic() - started < 10
    process.send_signal(signal.SIGCONT)
    assert process.wait(10) == 0
    process.communicate()


def test_a_killed_follower_harms_nobody(rl: Rootless, image: str) -> None:
    words = ["run", "-d", "--name", "c", "--network", "none", "--log-opt", "max-size=1k", image]
    rl(*words, "sh", "-c", "while :; do echo x; sleep 0.01; done")
    for _ in range(3):
        process = rl.popen("logs", "-f", "c")
        assert process.stdout is not None
        assert process.stdout.readline() == b"x\n"
        process.kill()
        process.communicate()
    wait_until(lambda: rl.status("c") == "running")
    rl("rm", "-f", "-t", "0", "c")


class Recorded:
    """A log with lines of the given seconds."""

    fds: tuple[int, ...] = ()

    def __init__(self, name: str, seconds: list[int]) -> None:
        self._entries: list[Entry] | None = [
            Entry(stamp(second * 10**9), 1, False, f"{name}{number}".encode()) for number, second in enumerate(seconds)
        ]

    def more(self) -> Iterator[Entry] | None:
        entries, self._entries = self._entries, None
        return None if entries is None else iter(entries)

    def ended(self) -> bool:
        return True

    def woken(self, fd: int) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def printed(choice: Choice, *logs: Recorded) -> list[str]:
    out: list[bytes] = []
    print_logs([Voice(log, choice) for log in logs], lambda stream, data: out.append(data), choice)
    return b"".join(out).decode().split()


def test_a_clock_that_is_set_back_loses_no_line() -> None:
    jumping = [100, 200, 50, 60, 300]
    assert printed(Choice(), Recorded("a", jumping)) == ["a0", "a1", "a2", "a3", "a4"]
    assert printed(Choice(until=110), Recorded("a", jumping)) == ["a0", "a2", "a3"]
    assert printed(Choice(since=110), Recorded("a", jumping)) == ["a1", "a4"]


def test_the_lines_of_each_keep_their_order_when_clocks_jump() -> None:
    both = printed(Choice(), Recorded("a", [100, 200, 50, 300]), Recorded("b", [150, 160]))
    assert [line for line in both if line[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert both == ["a0", "b0", "b1", "a1", "a2", "a3"]
