"""`exec`: further commands in a running container."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.command import Rootless, executable, wait_until


@pytest.fixture
def box(rl: Rootless, image: str) -> Iterator[Rootless]:
    """The command, with a container named `box` running."""
    rl("run", "-d", "--name", "box", "--network", "none", "-e", "FROM_RUN=1", "-w", "/srv", image, "sleep", "60")
    yield rl
    rl("rm", "-f", "-t", "0", "box", check=False)


def test_it_is_in_the_containers_namespaces(box: Rootless) -> None:
    pid = box.inspect("box")["State"]["Pid"]
    for kind in ("ipc", "mnt", "net", "pid", "user", "uts", "cgroup"):
        assert box.out("exec", "box", "readlink", f"/proc/self/ns/{kind}") == os.readlink(f"/proc/{pid}/ns/{kind}")
    assert box.out("exec", "box", "hostname") == box.inspect("box")["Config"]["Hostname"]
    assert box.out("exec", "box", "sh", "-c", "echo $FROM_RUN; pwd").split() == ["1", "/srv"]


def test_options(box: Rootless) -> None:
    assert box.out("exec", "-e", "A=b", "box", "sh", "-c", "echo $A") == "b"
    assert box.out("exec", "-w", "/etc", "box", "pwd") == "/etc"
    assert box.out("exec", "-u", "alice", "box", "id", "-un") == "alice"
    caps = "sed -n s/^CapEff:.//p /proc/self/status"
    assert int(box.out("exec", "box", "sh", "-c", caps), 16) & 1 << 21 == 0
    assert int(box.out("exec", "--privileged", "box", "sh", "-c", caps), 16) & 1 << 21


@pytest.mark.parametrize(
    ("command", "code"),
    [(["true"], 0), (["sh", "-c", "exit 9"], 9), (["no-such"], 127), (["/etc/not-executable"], 126)],
)
def test_exit_codes(box: Rootless, command: list[str], code: int) -> None:
    assert box("exec", "box", *command, check=False).returncode == code


def test_death_by_signal(box: Rootless) -> None:
    assert box("exec", "box", "sh", "-c", "kill -9 $$", check=False).returncode == 137


def test_streams(box: Rootless) -> None:
    done = box("exec", "box", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert box.out("exec", "box", "cat", input="ignored") == ""
    data = os.urandom(3 << 20)
    echoed = subprocess.run(
        [executable(), "exec", "-i", "box", "cat"], input=data, capture_output=True, env=box.environment, check=True
    )
    assert hashlib.sha256(echoed.stdout).digest() == hashlib.sha256(data).digest()


def test_output_to_a_file_is_written_by_us(box: Rootless, tmp_path: object) -> None:
    path = f"{tmp_path}/out"
    with open(path, "wb") as out:
        box.popen("exec", "box", "sh", "-c", "ls -l /proc/self/fd/1; echo done", stdout=out).wait(10)
    with open(path) as out:
        written = out.read()
    assert written.endswith("done\n")
    assert path not in written, "the container would hold a file of the host"


def test_signals_are_passed_on(box: Rootless) -> None:
    process = box.popen("exec", "box", "sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 4


def test_the_command_dies_with_its_caller(box: Rootless) -> None:
    process = box.popen("exec", "box", "sh", "-c", "echo up; exec sleep 1234")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    wait_until(lambda: "1234" not in box.out("exec", "box", "ps"), what="the end of the command")


def test_detached(box: Rootless) -> None:
    box("exec", "-d", "box", "sh", "-c", "sleep 0.2; touch /made")
    wait_until(lambda: box("exec", "box", "test", "-e", "/made", check=False).returncode == 0)


def test_it_ends_with_the_container(box: Rootless) -> None:
    process = box.popen("exec", "box", "sleep", "60")
    time.sleep(0.3)
    box("kill", "box")
    assert process.wait(10) == 137


def test_needs_a_running_container(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    done = rl("exec", "c", "true", check=False)
    assert done.returncode == 125
    assert "not running" in done.stderr


def test_many_at_once(box: Rootless) -> None:
    processes = [box.popen("exec", "box", "echo", str(n)) for n in range(16)]
    assert [process.communicate(timeout=30)[0] for process in processes] == [f"{n}\n".encode() for n in range(16)]


def test_a_detached_command_keeps_its_terminal(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    rl("exec", "-d", "-t", "c", "sh", "-c", "seq 1 20000; tty > /tty; sleep 50")
    wait_until(lambda: rl("exec", "c", "cat", "/tty", check=False).stdout.startswith("/dev/pts/"))
    assert "sleep 50" in rl.out("exec", "c", "ps")
