"""Streams and terminals that are treated badly (HOSTILE 36)."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_attach import DETACH, Terminal
from tests.support.command import Rootless, wait_until

GIB = 1 << 30
BLOCK = os.urandom((1 << 20) + 7)  # of a size that chunks do not divide


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def pass_through(process: subprocess.Popen[bytes], size: int) -> None:
    """Feed `size` bytes of our pattern, and see the same ones come back."""
    assert process.stdin is not None
    assert isinstance(process.stdout, io.BufferedReader)
    feed = process.stdin

    def write() -> None:
        left = size
        while left:
            part = BLOCK[:left]
            feed.write(part)
            left -= len(part)
        feed.close()

    writer = threading.Thread(target=write)
    writer.start()
    got, twice = 0, memoryview(BLOCK + BLOCK)
    while part := process.stdout.read1(1 << 20):
        at = got % len(BLOCK)
        assert part == twice[at : at + len(part)], f"changed after {got} bytes"
        got += len(part)
    writer.join()
    assert got == size
    assert process.wait(20) == 0


def test_a_gibibyte_passes_both_ways_unchanged(rl: Rootless, image: str) -> None:
    options = ("--rm", "-i", "--network", "none", "--log-driver", "none")
    pass_through(rl.popen("run", *options, image, "cat", stdin=subprocess.PIPE, stderr=None), GIB)


def test_binary_data_passes_an_exec_both_ways_unchanged(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "1000")
    pass_through(rl.popen("exec", "-i", "c", "cat", stdin=subprocess.PIPE, stderr=None), 128 << 20)


def test_every_byte_and_the_streams_apart(rl: Rootless, image: str) -> None:
    every = bytes(range(256)) * 3
    process = rl.popen(
        *("run", "--rm", "-i", "--network", "none", image, "sh", "-c", "tee /dev/stderr"), stdin=subprocess.PIPE
    )
    assert process.communicate(every, timeout=30) == (every, every)


def test_a_storm_of_resizes_ends_in_the_last_size(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    terminal = Terminal(rl, "run", "-it", "--rm", "--network", "none", image, "sh")
    terminals.append(terminal)
    terminal.expect(b"# ")
    terminal.type(b"while ! test -e /done; do echo 0123456789; done & echo b''egun\n")
    terminal.expect(b"begun")
    for number in range(2000):
        terminal.resize(1 + number % 500, 1 + number % 300)
        if number % 50 == 0:
            os.read(terminal.fd, 65536)
    terminal.resize(33, 121)
    terminal.type(b"touch /done; wait; stty size; echo e''nd\n")
    terminal.expect(b"33 121", 20)
    terminal.expect(b"end")
    terminal.type(b"exit 4\n")
    assert terminal.wait() == 4


def test_leaving_in_the_middle_of_an_escape_sequence(rl: Rootless, image: str, terminals: list[Terminal]) -> None:
    """What was typed before has gone to the container; the next client goes on where it was."""
    script = "stty raw -echo; printf ready; dd bs=1 count=6 2>/dev/null | od -An -tx1; stty sane; exit 5"
    terminal = Terminal(rl, "run", "-it", "--name", "c", "--network", "none", image, "sh", "-c", script)
    terminals.append(terminal)
    terminal.expect(b"ready")
    terminal.type(b"\x1b[" + DETACH)
    assert terminal.wait() == 0
    assert rl.status("c") == "running"
    again = Terminal(rl, "attach", "c")
    terminals.append(again)
    time.sleep(0.3)  # it has no way to tell that it is attached
    again.type(b"A\x1b\x10")  # half of the keys, and then it is not the other half
    again.type(b"B")
    again.expect(b"1b 5b 41 1b 10 42")
    assert again.wait() == 5


def test_output_cut_in_the_middle_of_a_sequence_is_whole_for_the_log(
    rl: Rootless, image: str, terminals: list[Terminal]
) -> None:
    script = "printf '\\033['; read x; printf '31mred\\n'"
    terminal = Terminal(rl, "run", "-it", "--name", "c", "--network", "none", image, "sh", "-c", script)
    terminals.append(terminal)
    terminal.expect(b"\x1b[")
    terminal.type(DETACH)
    assert terminal.wait() == 0
    again = Terminal(rl, "attach", "c")
    terminals.append(again)
    again.type(b"\n")
    again.expect(b"31mred")
    assert again.wait() == 0
    assert "\x1b[" in rl.out("logs", "c")


@pytest.mark.parametrize(("options", "code"), [(["--init"], 128 + signal.SIGPIPE), ([], 1)])
def test_a_closed_pipe_as_standard_output_ends_the_writer(
    rl: Rootless, image: str, options: list[str], code: int
) -> None:
    """As in a pipeline; as pid 1, which no signal ends unasked, it sees the error."""
    process = rl.popen("run", "--name", "c", "--network", "none", *options, image, "yes")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(10) == code
    assert process.stderr is not None
    assert b"Error" not in process.stderr.read()
    assert rl.status("c") == "exited"


def test_standard_input_that_is_closed_ends_at_once_inside(rl: Rootless, image: str) -> None:
    process = rl.popen(
        *("run", "--rm", "-i", "--network", "none", image, "cat"), stdin=None, preexec_fn=lambda: os.close(0)
    )
    assert process.communicate(timeout=10)[0] == b""
    assert process.returncode == 0


def test_streams_that_are_all_closed_reach_nothing_of_ours(rl: Rootless, image: str, tmp_path: Path) -> None:
    """What the command opens then gets the numbers 0, 1 and 2: nothing of the container's may be written there."""
    script = "cat; echo out; echo err >&2; touch /srv/ended"
    options = ("--rm", "-i", "--network", "none", "-v", f"{tmp_path}:/srv")
    for streams in ((0,), (1,), (2,), (0, 1), (0, 1, 2)):

        def close(streams: tuple[int, ...] = streams) -> None:
            for fd in streams:
                os.close(fd)

        process = rl.popen("run", *options, image, "sh", "-c", script, preexec_fn=close)
        process.communicate(timeout=20)
        wait_until((tmp_path / "ended").exists)
        (tmp_path / "ended").unlink()
        assert rl.out("ps", "-aq") == ""
    assert rl("system", "check", "--quick").returncode == 0
