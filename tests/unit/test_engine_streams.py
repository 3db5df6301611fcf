"""Output that never waits, logs that lose nothing, keys to detach with."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.engine.attach import Attachment, parse_detach_keys
from rootless.engine.logs.files import tail_position
from rootless.engine.logs.formats import entries, parse
from rootless.engine.monitor.logfile import LogFile
from rootless.engine.monitor.loop import Monitor
from rootless.engine.monitor.streams import POLLHUP, POLLIN, Output, read
from rootless.errors import UsageError
from rootless.kernel import terminal

PIECES = st.lists(
    st.tuples(st.sampled_from([b"stdout", b"stderr"]), st.lists(st.sampled_from([b"a", b"\n", b"x y", b"\xff\0"])))
)


def printed(log: bytes) -> dict[int, bytes]:
    out = {1: b"", 2: b""}

    for entry in entries(log):
        out[entry.stream] += entry.data if entry.partial else entry.data + b"\n"
    return out


@given(PIECES)
@settings(max_examples=200)
def test_what_is_logged_is_read_back_byte_for_byte(pieces: list[tuple[bytes, list[bytes]]]) -> None:
    reader, writer = os.pipe()
    log = LogFile(writer)
    wanted = {1: b"", 2: b""}
    for stream, parts in pieces:
        data = b"".join(parts)
        if data:
            log.write(stream, data)
            wanted[1 if stream == b"stdout" else 2] += data
    os.close(writer)
    with open(reader, "rb") as file:
        assert printed(file.read()) == wanted


@given(st.lists(st.sampled_from([b"line\n", b"longer line\n", b"part"]), max_size=30), st.integers(0, 12))
def test_tail_begins_where_the_last_lines_begin(parts: list[bytes], count: int) -> None:
    fd = os.memfd_create("log")
    log = LogFile(fd)
    for part in parts:
        log.write(b"stdout", part)
    lines = b"".join(parts).splitlines(keepends=True)
    size = os.fstat(fd).st_size
    rest = os.pread(fd, size, tail_position([fd], count)[1])
    os.close(fd)
    assert printed(rest)[1] == b"".join(lines[len(lines) - count :] if count < len(lines) else lines)


def test_a_full_disk_costs_log_entries_only() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        LogFile(full.fileno()).write(b"stdout", b"lost\n")


def test_output_keeps_what_a_pipe_does_not_take() -> None:
    reader, writer = os.pipe()
    output = Output(writer)
    data = os.urandom(300_000)
    output.offer(data)
    assert output.pending
    assert os.get_blocking(writer), "the descriptor is shared with others"
    received = b""
    while len(received) < len(data):
        received += os.read(reader, 65536)
        output.flush()
    assert received == data
    os.close(reader)
    output.offer(b"nobody there")
    assert output.gone
    assert output.pending == b""
    os.close(writer)


def test_output_to_a_socket() -> None:
    ours, theirs = socket.socketpair()
    output = Output(theirs.fileno())
    data = os.urandom(2_000_000)
    output.offer(data)
    received = b""
    while len(received) < len(data):
        received += ours.recv(65536)
        output.flush()
    assert received == data
    assert theirs.getblocking()
    ours.close()
    output.offer(b"x")
    output.offer(b"y")
    assert output.gone
    theirs.close()


def test_output_to_a_file_is_appended_where_the_file_is_shared(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb", buffering=0) as file:
        file.write(b"before ")
        output = Output(file.fileno())
        output.offer(b"ours ")
        file.write(b"after")
    assert (tmp_path / "f").read_bytes() == b"before ours after"


def test_read_tells_nothing_from_the_end() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    assert read(reader) is None
    os.write(writer, b"x")
    assert read(reader) == b"x"
    os.close(writer)
    assert read(reader) == b""
    os.close(reader)


def test_detach_keys_are_parsed() -> None:
    assert parse_detach_keys(None) == b"\x10\x11"
    assert parse_detach_keys("ctrl-a,x") == b"\x01x"
    assert parse_detach_keys("ctrl-[") == b"\x1b"
    assert parse_detach_keys("") == b""
    for text in ("ctrl-", "ctrl-1", "abc", "a,,b", "é"):
        with pytest.raises(UsageError):
            parse_detach_keys(text)


def simple_look(keys: bytes, typed: bytes) -> tuple[bytes, bool]:
    """All that was typed before the first appearance of the keys, and whether they appeared."""
    before, found, _ = typed.partition(keys)
    return before, bool(found)


@given(
    st.text("ab", min_size=1, max_size=4).map(str.encode),
    st.lists(st.text("abc", min_size=1, max_size=5).map(str.encode), max_size=12),
)
def test_detach_keys_are_found_across_reads_and_nothing_else_is_lost(keys: bytes, reads: list[bytes]) -> None:
    attachment = Attachment(None, (0, 0, ""), True, True, keys, False)
    passed = b""
    detached = False
    for data in reads:
        some, detached = attachment._look_for_keys(data)
        passed += some
        if detached:
            break
    before, found = simple_look(keys, b"".join(reads))
    assert detached == found
    if found:
        assert passed == before
    else:  # a beginning of the keys may still be held back
        assert before.startswith(passed)
        assert keys.startswith(before[len(passed) :])


def test_entries_that_are_torn_are_no_entries() -> None:
    with pytest.raises(ValueError):
        parse(b"2024-01-0")


def test_a_container_that_waits_for_a_client_goes_on_when_the_client_hangs_up() -> None:
    """The kernel may report the hang-up before it says that one could write: no attempt to write finds it then."""
    reader, writer = os.pipe()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    state: dict[str, Any] = dict.fromkeys(("pidfd", "log", "error", "input", "server", "rootfs"), -1)
    state |= {"pid": os.getpid(), "tty": False, "output": reader, "local_input": False, "helper": None}
    monitor = Monitor({**state, "clients": [ours.detach()]})
    (client,) = monitor._clients
    while not monitor._paused:
        os.write(writer, b"x" * 4096)
        monitor._pump(reader)
    theirs.close()
    monitor._poller.current = client
    monitor._client_ready(POLLIN | POLLHUP)
    assert not monitor._paused
    assert not monitor._clients
    for fd in (reader, writer):
        os.close(fd)


def test_a_size_that_found_the_link_full_is_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [(9, 9), (33, 121), (33, 121)]  # the second comes while the first is under way
    monkeypatch.setattr(terminal, "size_of_ours", lambda: sizes.pop(0) if len(sizes) > 1 else sizes[0])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        filled = 0
        try:
            while True:
                ours.send(b"I", socket.MSG_DONTWAIT)
                filled += 1
        except BlockingIOError:
            pass
        attachment = Attachment(ours, (0, 0, ""), True, True, b"", False)
        attachment._send_size()
        assert {theirs.recv(9) for _ in range(filled)} == {b"I"}
        attachment._flush()
        assert theirs.recv(99, socket.MSG_DONTWAIT) == b"W33,121"
        with pytest.raises(BlockingIOError):
            theirs.recv(9, socket.MSG_DONTWAIT)
