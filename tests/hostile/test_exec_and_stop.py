"""What a container or an impatient user could spoil for others: pipes and fifos of ours, a `stop` broken off."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable, wait_until

PYTHON_FOLDERS = [folder for folder in ("/usr", "/lib", "/lib64") if os.path.exists(folder)]


@pytest.fixture
def running(rl: Rootless, image: str) -> str:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "600")
    return "c"


@pytest.mark.parametrize("user", ["root", "alice", "1000:1000"])
def test_a_pipeline_stays_its_owners(rl: Rootless, running: str, user: str) -> None:
    line = f'{{ "{executable()}" exec -u {user} c sh -c "echo one > /dev/stdout"; echo two > /dev/stdout; }} | cat'
    done = subprocess.run(["sh", "-c", line], env=rl.environment, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("one\ntwo\n", "")


def test_a_passwd_that_makes_root_somebody_else_does_not_get_our_pipe(rl: Rootless, running: str) -> None:
    rl("exec", "c", "sh", "-c", "echo root:x:1000:1000::/:/bin/sh > /etc/passwd")
    line = f'{{ "{executable()}" exec -u root c id -u; echo two > /dev/stdout; }} | cat'
    done = subprocess.run(["sh", "-c", line], env=rl.environment, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("1000\ntwo\n", "")


def test_a_fifo_of_ours_is_not_the_containers_to_change(rl: Rootless, running: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    keep = os.open(fifo, os.O_RDWR)
    script = "chmod 0777 /proc/self/fd/0 /proc/self/fd/1; chown 1000 /proc/self/fd/0 /proc/self/fd/1; true"
    for user in ("root", "alice"):
        rl("exec", "-i", "-u", user, "c", "sh", "-c", script, stdin=keep)
    found = fifo.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.getuid())
    os.close(keep)


def test_what_the_command_leaves_running_does_not_hold_up_exec(rl: Rootless, running: str, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as out:
        script = "for n in 1 2 3 4; do cat /dev/zero & done; sleep 0.2"
        rl_process = rl.popen("exec", "c", "sh", "-c", script, stdout=out)
        assert rl_process.wait(10) == 0
        rl_process.communicate()


def test_a_stop_that_is_broken_off_leaves_a_running_container(rl: Rootless, running: str) -> None:
    process = rl.popen("stop", "-t", "100", "c")
    wait_until(lambda: rl.status("c") == "stopping")
    assert rl.out("exec", "c", "echo", "still there") == "still there"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert rl.status("c") == "running"
    process = rl.popen("stop", "-t", "100", "c")
    wait_until(lambda: rl.status("c") == "stopping")
    process.kill()
    process.communicate()
    assert rl.out("exec", "c", "echo", "still there") == "still there"
    rl("rm", "-f", "-t", "0", "c")


def test_the_longest_patience_is_no_error(rl: Rootless, running: str) -> None:
    process = rl.popen("stop", "-t", "99999999999", "c")
    wait_until(lambda: rl.status("c") == "stopping")
    rl("kill", "c")
    assert process.wait(10) == 0
    process.communicate()


def test_a_log_that_is_a_fifo_holds_up_nobody(rl: Rootless, image: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    option = f"path={tmp_path}/log"
    done = rl("run", "--rm", "--network", "none", "--log-opt", option, image, "true", check=False, timeout=10)
    assert done.returncode == 125
    assert "opening the log" in done.stderr
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)  # which never reads
    started = time.monotonic()
    script = "head -c 1000000 /dev/zero | tr '\\0' x | fold -w 99"
    assert len(rl.out("run", "--rm", "--network", "none", "--log-opt", option, image, "sh", "-c", script)) > 1_000_000
    assert time.monotonic() - started < 10
    os.close(reader)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ulimit", "as=1000"], "out of memory"),
        (["--group-add", "99999999999999999999"], "--group-add 99999999999999999999: not a number"),
        (["--env-file", "/dev/zero"], "--env-file /dev/zero: it has more than"),
        (["--security-opt", "seccomp=/dev/zero"], "seccomp=/dev/zero: it has more than"),
        (["-v", "/tmp:/dev/null"], "mounting on /dev/null: one is a directory and the other is not"),
    ],
)
def test_values_that_cannot_be(rl: Rootless, image: str, options: list[str], words: str) -> None:
    done = rl("run", "--rm", "--network", "none", *options, image, "true", check=False)
    assert done.returncode == 125
    assert words in done.stderr
    assert "internal error" not in done.stderr


def test_a_pipe_that_does_not_wait_loses_nothing(rl: Rootless, running: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = rl.popen("exec", "c", "head", "-c", "1000000", "/dev/zero", stdout=writer)
    os.close(writer)
    time.sleep(0.2)
    with open(reader, "rb") as pipe:
        assert len(pipe.read()) == 1_000_000
    assert process.wait(10) == 0
    process.communicate()


def test_strange_things_in_the_run_directory_hold_up_nobody(rl: Rootless, image: str) -> None:
    container_id = rl.out("run", "-d", "--name", "c", "--network", "none", image, "sleep", "600")
    (rl.runroot / "containers" / container_id / "folder" / "inner").mkdir(parents=True)
    rl("stop", "-t", "0", "c")
    assert rl.status("c") == "exited"


def test_a_user_of_more_groups_than_there_can_be(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "600")
    rl("exec", "c", "sh", "-c", "seq 1 70000 | sed 's/.*/g&:x:&:alice/' > /etc/group")
    done = rl("exec", "-u", "alice", "c", "id", check=False)
    assert done.returncode == 125
    assert "a member of 70000 groups" in done.stderr


TRACER = """
import ctypes, os
libc = ctypes.CDLL(None)
print("tracing", flush=True)
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            libc.ptrace(0x4206, int(name), 0, 0)  # PTRACE_SEIZE
"""


@pytest.mark.parametrize(("end", "code"), [("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", 137), ("os._exit(0)", 0)])
@pytest.mark.parametrize("user", ["root", "alice"])
def test_a_tracer_in_the_container_does_not_keep_the_end_of_a_command(
    rl: Rootless, image: str, end: str, code: int, user: str
) -> None:
    folders = [word for folder in PYTHON_FOLDERS for word in ("-v", f"{folder}:{folder}:ro")]
    python = [os.path.realpath(sys.executable), "-I", "-S", "-c"]
    rl("run", "-d", "--name", "c", "--network", "none", "--cap-add", "SYS_PTRACE", *folders, image, *python, TRACER)
    wait_until(lambda: rl.out("logs", "c") == "tracing")
    script = f"import os, time; time.sleep(0.5); print(open('/proc/self/status').read(), flush=True); {end}"
    done = rl("exec", "-u", user, "c", *python, script, check=False, timeout=10)
    assert done.returncode == code
    assert "TracerPid:\t1\n" in done.stdout
