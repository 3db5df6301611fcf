"""Terminals and `attach`: keys, sizes, leaving and coming back."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable, wait_until

DETACH = b"\x10\x11"  # ctrl-p ctrl-q


class Terminal:
    """The command on a terminal of its own, as a person has it."""

    def __init__(self, rl: Rootless, *args: str, rows: int = 24, columns: int = 80) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(executable(), [executable(), *args], rl.environment)
        self.seen = b""
        self.code: int | None = None

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def expect(self, text: bytes, seconds: float = 10) -> None:
        """Read until `text` has been shown since the last call."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown, but {self.seen[-2000:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    raise AssertionError(f"the terminal ended after {self.seen!r}, before {text!r}") from None
        self.seen = self.seen.partition(text)[2]

    def wait(self, seconds: float = 10) -> int:
        """The exit code."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"still running; it has shown {self.seen!r}"
        return self.code

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def shell(rl: Rootless, image: str, terminals: list[Terminal], *options: str, **size: int) -> Terminal:
    terminal = Terminal(rl, "run", "-it", "--network", "none", *options, image, "sh", **size)
    terminals.append(terminal)
    terminal.expect(b"# ")
    return terminal


def test_a_shell_on_a_terminal(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = shell(rl, image, terminals, "--rm", rows=33, columns=101)
    terminal.type(b"tty; stty size\n")
    terminal.expect(b"/dev/pts/0")
    terminal.expect(b"33 101")
    terminal.type(b"exit 7\n")
    assert terminal.wait() == 7


def test_control_characters_belong_to_the_container(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = shell(rl, image, terminals, "--rm")
    terminal.type(b"sleep 50\n")
    time.sleep(0.3)
    terminal.type(b"\x03")
    terminal.expect(b"# ")
    terminal.type(b"echo st''ill here\n")
    terminal.expect(b"still here")
    terminal.expect(b"# ")  # before, the line is not the shell's to read yet
    terminal.type(b"\x04")
    assert terminal.wait() == 0


def test_resizing(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = shell(rl, image, terminals, "--rm")
    for rows in range(10, 60):  # a storm of them
        terminal.resize(rows, 70)
    terminal.resize(44, 66)
    time.sleep(0.3)
    terminal.type(b"stty size\n")
    terminal.expect(b"44 66")
    terminal.type(b"exit\n")
    assert terminal.wait() == 0


def test_detach_and_attach_again(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = shell(rl, image, terminals, "--name", "c")
    terminal.type(b"X=kept\n" + DETACH)
    assert terminal.wait() == 0
    assert terminal.seen.endswith(b"\r\n"), "the shell's prompt begins a line"
    assert rl.status("c") == "running"
    again = Terminal(rl, "attach", "c")
    terminals.append(again)
    again.type(b"echo $X-$X\n")
    again.expect(b"kept-kept")
    again.type(b"exit 3\n")
    assert again.wait() == 3
    assert rl.inspect("c")["State"]["ExitCode"] == 3


def test_half_of_the_detach_keys_is_passed_on_with_what_follows(
    rl: Rootless, image: str, terminals: list[Terminal]
) -> None:
    terminal = shell(rl, image, terminals, "--rm")
    terminal.type(b"stty raw -echo; dd bs=1 count=4 2>/dev/null | od -tx1 | head -1; stty sane\n")
    time.sleep(0.5)
    terminal.type(b"\x10")
    time.sleep(0.1)
    terminal.type(b"\x10a\x10b")
    terminal.expect(b"10 10 61 10")
    terminal.type(b"\nexit 0\n")
    assert terminal.wait() == 0


def test_own_detach_keys(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = shell(rl, image, terminals, "--name", "c", "--detach-keys", "q,q")
    terminal.type(b"q")
    time.sleep(0.1)
    terminal.type(b"q")
    assert terminal.wait() == 0
    assert rl.status("c") == "running"


def test_the_terminal_is_restored(rl: Rootless, image: str) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = rl.popen("run", "--rm", "-it", "--network", "none", image, "true", stdin=slave, stdout=slave)
    process.wait(10)
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_hang_up_ends_the_client_and_not_the_container(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = shell(rl, image, terminals, "--name", "c")
    os.kill(terminal.pid, signal.SIGHUP)
    assert terminal.wait() == 129
    assert rl.status("c") == "running"


def test_exec_on_a_terminal(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    terminal = Terminal(rl, "exec", "-it", "c", "sh", rows=20, columns=50)
    terminals.append(terminal)
    terminal.expect(b"# ")
    terminal.type(b"stty size; exit 6\n")
    terminal.expect(b"20 50")
    assert terminal.wait() == 6


def test_exec_goes_on_when_the_user_detaches(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    terminal = Terminal(rl, "exec", "-it", "c", "sh")
    terminals.append(terminal)
    terminal.expect(b"# ")
    terminal.type(b"sleep 1; touch /done\n")
    time.sleep(0.2)
    terminal.type(DETACH)
    assert terminal.wait() == 0
    wait_until(lambda: rl("exec", "c", "test", "-e", "/done", check=False).returncode == 0)


def test_run_on_a_terminal_without_input(rl: Rootless, image: str) -> None:
    assert rl("run", "--rm", "-t", "--network", "none", image, "sh", "-c", "tty; exit 4", check=False).returncode == 4


def test_input_from_a_pipe_to_a_terminal_ends(rl: Rootless, image: str) -> None:
    done = rl("run", "--rm", "-it", "--network", "none", image, "sh", input="echo fr''om a pipe\n")
    assert "from a pipe" in done.stdout
    assert done.stderr.splitlines()[0] == NO_TERMINAL


NO_TERMINAL = "Warning: the input device is not a TTY: --tty and --interactive might not work properly"


def test_interactive_on_a_terminal_that_is_none_is_warned_of(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "100")
    assert rl("exec", "-it", "c", "true").stderr.splitlines() == [NO_TERMINAL]
    for options in (("-t",), ("-i",)):
        assert rl("exec", *options, "c", "true").stderr == ""
    assert rl("run", "--rm", "-d", "-it", "--network", "none", image, "true").stderr == ""


def test_attach_follows_output_and_gives_the_exit_code(rl: Rootless, image: str) -> None:
    script = "while ! test -e /go; do sleep 0.05; done; echo out; echo err >&2; exit 8"
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", script)
    clients = [rl.popen("attach", "c") for _ in range(3)]
    time.sleep(0.5)
    rl("exec", "c", "touch", "/go")
    for client in clients:
        assert client.communicate(timeout=10) == (b"out\n", b"err\n")
        assert client.returncode == 8


def test_attach_passes_input_on(rl: Rootless, image: str) -> None:
    rl("run", "-d", "-i", "--name", "c", "--network", "none", image, "cat")
    done = rl("attach", "c", input="typed\n", timeout=10)
    assert done.stdout == "typed\n"


def test_much_input_and_output_pass_through_one_client(rl: Rootless, image: str) -> None:
    rl("run", "-d", "-i", "--name", "c", "--network", "none", "--log-driver", "none", image, "cat")
    data = os.urandom(20 << 20)
    client = rl.popen("attach", "c", stdin=subprocess.PIPE)
    out, _ = client.communicate(data, timeout=60)
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


def test_much_input_to_a_terminal_whose_output_nobody_takes(
    rl: Rootless, image: str, terminals: list[Terminal]
) -> None:
    terminal = shell(rl, image, terminals, "--rm")
    terminal.type(b"stty raw -echo; echo g''o; head -c 3000000 > /tmp/got; stty sane; echo got $(wc -c < /tmp/got)\n")
    terminal.expect(b"go")
    time.sleep(0.3)
    for _ in range(300):
        terminal.type(b"a" * 10_000)
    terminal.expect(b"got 3000000", 30)
    terminal.type(b"\nexit 0\n")
    assert terminal.wait() == 0


def test_attach_proxies_signals(rl: Rootless, image: str) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do echo .; sleep 0.05; done"
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", script)
    client = rl.popen("attach", "c")
    assert client.stdout is not None
    client.stdout.readline()
    client.send_signal(signal.SIGTERM)
    client.stdout.read()
    assert client.wait(10) == 5


def _written(pid: int) -> int:
    """Bytes that a process has written: proc_pid_io(5)."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])


def test_a_client_that_is_killed_while_the_container_waits_for_it_lets_it_go_on(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", "--log-driver", "none", image, "yes")
    pid = rl.inspect("c")["State"]["Pid"]
    client = rl.popen("attach", "c")  # it does not read
    seen = [0]

    def waits() -> bool:
        seen.append(_written(pid))
        time.sleep(0.2)
        return 0 < seen[-2] == seen[-1]

    wait_until(waits)
    client.kill()
    client.wait()
    wait_until(lambda: _written(pid) > seen[-1])
    second = rl.popen("attach", "c")
    assert second.stdout is not None
    assert len(second.stdout.read(100000)) == 100000
    second.kill()
    second.communicate()
    assert rl.status("c") == "running"


def test_attach_tells_when_the_monitor_is_killed(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    client = rl.popen("attach", "c")
    time.sleep(0.4)
    os.kill(rl.inspect("c")["State"]["ConmonPid"], signal.SIGKILL)
    _, said = client.communicate(timeout=10)
    assert client.returncode == 137
    assert b"monitor" in said


def test_a_large_stream_passes_in_and_out_at_once(rl: Rootless, image: str) -> None:
    script = "head -c 134217728 /dev/zero"
    started = time.monotonic()
    head = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    process = rl.popen(
        "run", "--rm", "-i", "--network", "none", "--log-driver", "none", image, "cat", stdin=head.stdout
    )
    assert head.stdout is not None
    head.stdout.close()
    assert process.stdout is not None
    size = 0
    while part := process.stdout.read(1 << 20):
        size += len(part)
    assert process.wait(10) == 0
    assert head.wait(10) == 0
    assert size == 134217728
    assert time.monotonic() - started < 20
