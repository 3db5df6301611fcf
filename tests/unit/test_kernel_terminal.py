"""Pseudo-terminals."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rootless.kernel import terminal


def test_a_raw_terminal_passes_every_byte_and_is_restored() -> None:
    master, name = terminal.open_pty("/dev/ptmx")
    slave = terminal.open_peer(master)
    assert os.ttyname(slave) == name
    assert not os.get_inheritable(master)
    saved = terminal.set_raw(slave)
    everything = bytes(range(256))
    os.write(master, everything)
    received = b""
    while len(received) < 256:
        received += os.read(slave, 256)
    assert received == everything
    terminal.restore(slave, saved)
    os.write(master, b"line\r")
    assert os.read(slave, 100) == b"line\n"
    os.close(slave)
    os.close(master)


def test_the_window_size_is_set_and_read() -> None:
    master, _ = terminal.open_pty("/dev/ptmx")
    slave = terminal.open_peer(master)
    terminal.set_window_size(master, 33, 111)
    assert terminal.get_window_size(slave) == (33, 111)
    os.close(slave)
    os.close(master)


def test_what_is_no_terminal_has_no_size() -> None:
    with open("/dev/null", "rb") as null, pytest.raises(OSError):
        terminal.get_window_size(null.fileno())


def test_a_session_leader_takes_a_terminal_as_its_own() -> None:
    code = (
        "import os; from rootless.kernel import terminal\n"
        "os.setsid(); master, name = terminal.open_pty('/dev/ptmx'); slave = terminal.open_peer(master)\n"
        "terminal.make_controlling(slave)\n"
        "print(os.tcgetpgrp(slave) == os.getpgrp(), os.ttyname(os.open('/dev/tty', os.O_RDWR)))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.startswith("True /dev/")
