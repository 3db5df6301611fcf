"""`run`: what passes between the container's streams and its caller's."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time

from tests.support.command import Rootless, executable


def run(rl: Rootless, *args: str, **more: object) -> str:
    return rl.out("run", "--rm", "--network", "none", *args, **more)


def test_output_and_error_are_separate(rl: Rootless, image: str) -> None:
    done = rl("run", "--rm", "--network", "none", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_input_needs_interactive(rl: Rootless, image: str) -> None:
    assert run(rl, image, "cat", input="ignored") == ""
    assert run(rl, "-i", image, "cat", input="passed on") == "passed on"


def test_ten_megabytes_without_a_newline_arrive_whole(rl: Rootless, image: str) -> None:
    out = run(rl, image, "sh", "-c", "head -c 10485760 /dev/zero | tr '\\0' x")
    assert out == "x" * 10485760


def test_binary_data_passes_both_ways_unchanged(rl: Rootless, image: str) -> None:
    data = os.urandom(5 << 20)
    done = subprocess.run(
        [executable(), "run", "--rm", "-i", "--network", "none", image, "cat"],
        input=data,
        capture_output=True,
        env=rl.environment,
        check=True,
    )
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_slow_reader_gets_everything(rl: Rootless, image: str) -> None:
    process = rl.popen("run", "--rm", "--network", "none", image, "sh", "-c", "seq 1 200000")
    assert process.stdout is not None
    time.sleep(0.5)
    lines = process.stdout.read().split()
    assert process.wait(10) == 0
    assert len(lines) == 200000
    assert lines[-1] == b"200000"


def test_reader_that_goes_away_ends_the_writer_as_in_a_pipeline(rl: Rootless, image: str) -> None:
    process = rl.popen("run", "--rm", "--network", "none", image, "yes")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(10) == 1  # pid 1 is spared the signal; its write fails


def test_closed_standard_output_harms_nobody(rl: Rootless, image: str) -> None:
    script = f'"{executable()}" run --rm --network none {image} sh -c "echo hello; exit 4" >&- 2>&-'
    assert subprocess.run(["sh", "-c", script], env=rl.environment).returncode == 4


def test_output_goes_to_a_socket(rl: Rootless, image: str) -> None:
    ours, theirs = socket.socketpair()
    process = rl.popen("run", "--rm", "--network", "none", image, "sh", "-c", "seq 1 100000", stdout=theirs)
    theirs.close()
    received = b""
    while part := ours.recv(65536):
        received += part
    assert process.wait(10) == 0
    assert received.split()[-1] == b"100000"
    ours.close()


def test_standard_output_stays_blocking_for_others(rl: Rootless, image: str) -> None:
    reader, writer = os.pipe()
    rl.popen("run", "--rm", "--network", "none", image, "echo", "x", stdout=writer).wait(10)
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)
