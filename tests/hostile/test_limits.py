"""Low limits, much output, slow readers (HOSTILE 32)."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until

MIB = 1 << 20


def limited(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def told(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it has worked; else it must have said why, in one error of its own."""
    if done.returncode == 0:
        assert done.stdout == "fine\n"
        return True
    assert done.returncode == 125, done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.startswith("Error: ")
    return False


def test_the_limit_of_processes(rl: Rootless, image: str) -> None:
    """At each place where a process or thread is made: either it works, or it is told and leaves nothing."""

    def threads() -> int:
        count = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            except OSError:
                continue
            count += int(fields["Threads"]) if fields["Uid"].split()[0] == str(os.getuid()) else 0
        return count

    worked = []
    for more in (0, 1, 2, 3, 4, 6):
        limit = limited(resource.RLIMIT_NPROC, threads() + more)
        for way in ([], ["-d"]):
            done = rl(*("run", "--rm", "--network", "none", *way, image, "echo", "fine"), check=False, preexec_fn=limit)
            if way and done.returncode == 0:
                continue
            worked.append(told(done))
        wait_until(lambda: rl.out("ps", "-aq") == "")
    assert worked, "nothing was tried"
    done = rl("run", "--rm", image, "true", check=False, preexec_fn=limited(resource.RLIMIT_NPROC, 1))
    assert (done.returncode, "too many processes" in done.stderr) == (125, True)


def test_the_limit_of_memory(rl: Rootless, image: str) -> None:
    """As far as Python itself starts: it may give up, and the kernel kills what has no memory for its stack."""
    worked = []
    for size in range(14 * MIB, 40 * MIB, 2 * MIB):
        limit = limited(resource.RLIMIT_AS, size)
        done = rl("run", "--rm", "--network", "none", image, "echo", "fine", check=False, preexec_fn=limit)
        if "Fatal Python error" not in done.stderr and done.returncode != -signal.SIGSEGV:
            worked.append(told(done))
        assert rl.out("ps", "-aq") == ""
    assert worked[-1]


def test_few_descriptors_are_enough_for_everything_at_once(rl: Rootless, image: str) -> None:
    limit = limited(resource.RLIMIT_NOFILE, 64)
    options = ("-i", "--init", "--health-cmd", "true", "--health-interval", "100ms")
    rl("run", "-d", "--name", "c", "--network", "none", *options, image, "cat", preexec_fn=limit)
    wait_until(lambda: rl.inspect("c")["State"]["Health"]["Status"] == "healthy")
    assert rl.out("exec", "-i", "c", "cat", input="through", preexec_fn=limit) == "through"
    assert rl.out("healthcheck", "run", "c", preexec_fn=limit) == ""
    monitor = rl.inspect("c")["State"]["ConmonPid"]
    used = len(os.listdir(f"/proc/{monitor}/fd"))
    wait_until(lambda: len(rl.inspect("c")["State"]["Health"]["Log"]) == 5)
    assert len(os.listdir(f"/proc/{monitor}/fd")) <= used + 2, "a check that runs has two"
    rl("stop", "-t", "0", "c", preexec_fn=limit)
    rl("rm", "c", preexec_fn=limit)


def test_a_monitor_that_may_start_nothing_keeps_its_container(rl: Rootless, image: str) -> None:
    """Checks do not come any more; output, the end and its record do."""
    script = "while ! test -e /go; do sleep 0.02; done; echo said"
    options = ("--health-cmd", "true", "--health-interval", "50ms")
    rl("run", "-d", "--name", "c", "--network", "none", *options, image, "sh", "-c", script)
    wait_until(lambda: rl.inspect("c")["State"]["Health"]["Status"] == "healthy")
    monitor = rl.inspect("c")["State"]["ConmonPid"]
    resource.prlimit(monitor, resource.RLIMIT_NPROC, (1, 1))
    rl("exec", "c", "touch", "/go")
    assert rl.out("wait", "c") == "0"
    assert rl.out("logs", "c") == "said"


def test_ten_megabytes_without_a_newline(rl: Rootless, image: str) -> None:
    script = "yes 0123456789abcde | head -c 10000000 | tr -d '\\n'"
    expected = (b"0123456789abcde" * 700_000)[: 10_000_000 - 10_000_000 // 16]
    out = rl("run", "--name", "c", "--network", "none", image, "sh", "-c", script).stdout.encode()
    assert hashlib.sha256(out).digest() == hashlib.sha256(expected).digest()
    logged = rl("logs", "c").stdout.encode()
    assert hashlib.sha256(logged).digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("way", ["run", "attach", "exec"])
def test_output_that_is_faster_than_its_reader_waits_and_is_not_kept(rl: Rootless, image: str, way: str) -> None:
    quiet = ("--network", "none", "--log-driver", "none")
    script = "i=0; while test $i -lt 3; do head -c 30000000 /dev/zero; i=$((i+1)); done"
    if way == "run":
        process = rl.popen("run", "--rm", *quiet, image, "sh", "-c", script)
        watched = process.pid
    elif way == "exec":
        rl("run", "-d", "--name", "c", *quiet, image, "sleep", "60")
        process = rl.popen("exec", "c", "sh", "-c", script)
        watched = process.pid
    else:
        waits = f"while ! test -e /go; do sleep 0.02; done; {script}"
        rl("run", "-d", "--name", "c", *quiet, image, "sh", "-c", waits)
        watched = rl.inspect("c")["State"]["ConmonPid"]
        process = rl.popen("attach", "c")
        time.sleep(0.5)  # it has no way to tell that it is attached
        rl("exec", "c", "touch", "/go")
    assert process.stdout is not None
    first = process.stdout.read(1)  # it has begun
    time.sleep(0.5)
    peak = memory(watched)
    assert peak < 40 * MIB, "what nobody takes piles up"
    rest = len(first)
    while part := process.stdout.read(MIB):
        rest += len(part)
    assert process.wait(10) == 0
    assert rest == 90_000_000


def memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024


def test_a_log_that_is_removed_underneath_loses_nothing_for_others(rl: Rootless, image: str) -> None:
    script = "echo begun; while ! test -e /go; do sleep 0.02; done; seq 1 20000"
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", script)
    log = Path(rl.inspect("c")["HostConfig"]["LogConfig"]["Path"])
    wait_until(lambda: log.exists() and b"begun" in log.read_bytes())
    client = rl.popen("attach", "c")
    log.unlink()
    time.sleep(0.5)  # it has no way to tell that it is attached
    rl("exec", "c", "touch", "/go")
    out, _ = client.communicate(timeout=20)
    assert out == "".join(f"{number}\n" for number in range(1, 20001)).encode()
    assert rl.status("c") == "exited"
    assert "internal error" not in rl("logs", "c", check=False).stderr
    rl("rm", "c")
