"""Signals at bad moments, and times that jump."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from tests.hostile.test_exec_and_stop import PYTHON_FOLDERS
from tests.support.command import Rootless, wait_until
from tests.support.leaks import processes_of

# Attaches to every process but pid 1 and itself, and never lets one go on that has got a signal.
TRACER = """
import ctypes, os
libc = ctypes.CDLL(None)
print("tracing", flush=True)
while True:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            libc.ptrace(0x4206, int(name), 0, 0)  # PTRACE_SEIZE
"""


def test_a_hangup_reaches_the_container(rl: Rootless, image: str) -> None:
    process = rl.popen(
        *("run", "--rm", "--network", "none", image),
        *("sh", "-c", "trap 'echo hung up; exit 5' HUP; echo up; while :; do sleep 0.1; done"),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (5, b"hung up\n")


@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_command_that_is_stopped_goes_on_where_it_was(rl: Rootless, image: str, command: str) -> None:
    script = ("sh", "-c", "echo up; read x; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end")
    if command == "run":
        process = rl.popen("run", "--rm", "-i", "--network", "none", image, *script, stdin=-1)
    else:
        rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
        process = rl.popen("exec", "-i", "c", *script, stdin=-1)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGSTOP)
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert rl.out("ps", "--format", "{{.State}}") == "running", "others see what is the case"
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines()[-1] == b"end"
    assert len(out.splitlines()) == 20001
    assert process.returncode == 0
    if command == "exec":
        rl("rm", "-f", "-t", "0", "c")


def test_a_stopped_container_process_is_no_stopped_container(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    rl("kill", "-s", "STOP", "c")
    pid = rl.inspect("c")["State"]["Pid"]
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    assert rl.status("c") == "running"
    rl("stop", "-t", "1", "c")
    assert rl.inspect("c")["State"]["ExitCode"] in (137, 143)


def test_a_second_signal_ends_a_command_that_a_tracer_holds(rl: Rootless, image: str) -> None:
    folders = [word for folder in PYTHON_FOLDERS for word in ("-v", f"{folder}:{folder}:ro")]
    python = [os.path.realpath(sys.executable), "-I", "-S", "-c"]
    rl("run", "-d", "--name", "c", "--network", "none", "--cap-add", "SYS_PTRACE", *folders, image, *python, TRACER)
    wait_until(lambda: rl.out("logs", "c") == "tracing")
    script = "import time; s = open('/proc/self/status')\nwhile 'TracerPid:\\t1' not in s.read(): s.seek(0)\n"
    process = rl.popen("exec", "c", *python, script + "print('traced', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == b"traced\n"
    (inside,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "t (tracing" in Path(f"/proc/{inside}/status").read_text(), what="that the tracer holds it")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 137
    rl("rm", "-f", "-t", "0", "c")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_the_users_session_ends_containers_in_good_order(
    rl: Rootless, image: str, number: signal.Signals
) -> None:
    """What systemd-logind sends to all processes of a user who does not linger. None is restarted then."""
    for name in ("one", "two"):
        rl("run", "-d", "--name", name, "--network", "none", "--restart", "always", image, "sh", "-c",
           "trap 'exit 3' TERM HUP; while :; do sleep 0.1; done")  # fmt: skip
    wait_until(lambda: rl.out("ps", "-q", "--filter", "status=running").count("\n") == 1)
    time.sleep(0.3)  # until the traps are set: the shell says nothing of it
    for pid in processes_of(rl.place):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
    for name in ("one", "two"):
        assert rl.status(name) == "exited"
        assert rl.inspect(name)["RestartCount"] == 0
    rl("start", "--all", "--filter", "restart-policy=always")
    rl("rm", "-f", "-t", "0", "one", "two")


@pytest.mark.parametrize("years", [-60, -1, 1, 300])
def test_a_clock_that_has_jumped_is_no_error(rl: Rootless, image: str, years: int) -> None:
    """Times of before a jump are in the future, or far in the past, afterwards."""
    rl("run", "-d", "--name", "c", "--network", "none", "--restart", "on-failure:1", image, "sleep", "60")
    rl("run", "--name", "ended", "--network", "none", image, "true")
    with sqlite3.connect(rl.root / "db.sqlite") as database:
        database.execute(
            "UPDATE containers SET created = created + ?1, started = started + ?1, finished = finished + ?1",
            (years * 365.25 * 86400,),
        )
    database.close()
    assert sorted(rl.out("ps", "-a", "--format", "{{.Names}}").split()) == ["c", "ended"]
    assert "Up" in rl.out("ps", "--format", "{{.Status}}")
    for name in ("c", "ended"):
        assert rl.inspect(name)["State"]["StartedAt"][:4].isdigit()
    rl("ps", "-a", "--format", "json")
    rl("logs", "--since", "1h", "c")
    rl("stats", "--no-stream", "c")
    rl("top", "c")
    os.kill(rl.inspect("c")["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 1 and rl.status("c") == "running", 20)
    rl("rm", "-f", "-t", "0", "c", "ended")


def test_a_time_limit_does_not_look_at_the_clock(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", "--timeout", "1", image, "sleep", "60")
    with sqlite3.connect(rl.root / "db.sqlite") as database:
        database.execute("UPDATE containers SET started = started + 1e6")
    database.close()
    assert rl.out("wait", "c") == "137"
