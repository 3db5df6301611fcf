"""What a monitor writes into a log is what is read back: both formats, over rotations, from the end."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.engine.logs.files import FileSource
from rootless.engine.logs.formats import Entry, entries, parse
from rootless.engine.monitor import rotation
from rootless.engine.monitor.json_log import encoder
from rootless.engine.monitor.logfile import LogFile, encode_cri, stamp
from rootless.engine.monitor.rotation import RotatingLog

Encode = Callable[[bytes, bytes, bytes], bytes]
FORMATS: list[Encode] = [encode_cri, encoder(b""), encoder(b'{"tag":"a\\\\nb"}')]
# What the two formats could take for their own marks, and bytes that are no text.
PIECES = [
    b"a",
    b"\n",
    b"\\",
    b"n",
    b'"',
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xa9",
    b"\xed\xb2\x80",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"x" * 300,
    b'\\n","stream":"stdout"',
    b'{"log":"',
    b"2024-01-02T03:04:05.123456789Z stdout F ",
]
chunks = st.lists(
    st.tuples(
        st.sampled_from([b"stdout", b"stderr"]),
        st.one_of(st.lists(st.sampled_from(PIECES), min_size=1, max_size=20).map(b"".join), st.binary(min_size=1)),
    ),
    max_size=20,
)


def text(found: list[Entry]) -> dict[int, bytes]:
    out = {1: b"", 2: b""}
    for entry in found:
        out[entry.stream] += entry.data if entry.partial else entry.data + b"\n"
    return out


def written(chunks: list[tuple[bytes, bytes]]) -> dict[int, bytes]:
    return {
        number: b"".join(data for stream, data in chunks if stream == name)
        for number, name in ((1, b"stdout"), (2, b"stderr"))
    }


def drain(source: FileSource) -> list[Entry]:
    found: list[Entry] = []
    while (some := source.more()) is not None:
        found += some
    return found


@pytest.mark.parametrize("encode", FORMATS)
@given(chunks=chunks)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_byte_for_byte(encode: Encode, chunks: list[tuple[bytes, bytes]]) -> None:
    log = b"".join(encode(stream, stamp(0), data) for stream, data in chunks)
    assert text(list(entries(log))) == written(chunks)
    singly = [parse(line) for line in log.split(b"\n")[:-1]]
    assert text(singly) == written(chunks)


@pytest.mark.parametrize("encode", FORMATS)
@given(chunks=chunks, size=st.integers(50, 900))
@settings(max_examples=50, deadline=None)
def test_nothing_is_lost_over_rotations(encode: Encode, chunks: list[tuple[bytes, bytes]], size: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        log, path = rotating(place, encode, size, 1000)
        for stream, data in chunks:
            log.write(stream, data)
        os.close(log.fd)
        source = FileSource(path, 999, -1, None)
        assert text(drain(source)) == written(chunks)
        source.close()
        for name in os.listdir(place):
            with open(f"{place}/{name}", "rb") as file:
                content = file.read()
            assert len(content) <= size or content.count(b"\n") == 1
            assert content.endswith(b"\n") or not content


@pytest.mark.parametrize("encode", FORMATS)
@given(
    parts=st.lists(st.sampled_from([b"line\n", b"longer line\n", b"part"]), max_size=30),
    count=st.integers(0, 12),
    size=st.integers(60, 500),
)
@settings(max_examples=50, deadline=None)
def test_the_tail_begins_where_the_last_lines_do(encode: Encode, parts: list[bytes], count: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        log, path = rotating(place, encode, size, 100)
        for part in parts:
            log.write(b"stdout", part)
        os.close(log.fd)
        source = FileSource(path, 99, count, None)
        lines = b"".join(parts).splitlines(keepends=True)
        assert text(drain(source))[1] == b"".join(lines[len(lines) - count :] if count < len(lines) else lines)
        source.close()


def rotating(place: str, encode: Encode, size: int, files: int) -> tuple[RotatingLog, str]:
    path = f"{place}/log"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return RotatingLog(fd, encode, path, size, files), path


def test_json_lines_are_dockers() -> None:
    lines = encoder(b'{"tag":"t"}')(b"stderr", b"2024-01-02T03:04:05.000000000Z", b'one "1"\n\xff part').splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "log": log,
            "stream": "stderr",
            "attrs": {"tag": "t"},
            "time": "2024-01-02T03:04:05.000000000Z",
        }
        for log in ('one "1"\n', "\udcff part")
    ]


def test_dockers_own_lines_are_read() -> None:
    (entry,) = entries(b'{"log":"\\u003chi\\u003e\\r\\n","stream":"stdout","time":"2015-11-03T16:05:20.51Z"}\n')
    assert (entry.data, entry.partial, entry.stream) == (b"<hi>\r", False, 1)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"log":1}', b'{"log":"x"}', b"{}", b'{"log":"\\ud800","time":"x"}'])
def test_json_that_is_no_log_is_passed_over(line: bytes) -> None:
    assert list(entries(line + b"\n")) == []


@pytest.mark.parametrize("encode", FORMATS[:2])
def test_json_and_cri_lines_of_one_time_are_found_at_once(encode: Encode) -> None:
    (entry,) = entries(encode(b"stdout", stamp(1), b"a line\n" * 9999))
    assert entry.data == b"\n".join([b"a line"] * 9999)


def test_old_logs_are_thrown_away(tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 200, 3)
    for number in range(100):
        log.write(b"stdout", b"%d\n" % number)
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    source = FileSource(path, 2, -1, None)
    kept = text(drain(source))[1].split()
    assert kept == [b"%d" % number for number in range(100 - len(kept), 100)]
    source.close()
    os.close(log.fd)


def test_one_file_is_begun_anew(tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 100, 1)
    for number in range(30):
        log.write(b"stdout", b"%d\n" % number)
    assert os.listdir(tmp_path) == ["log"]
    assert Path(path).read_bytes().endswith(b" 29\n")
    os.close(log.fd)


def _remove(path: Path) -> None:
    path.unlink()


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"somebody else's\n")


@pytest.mark.parametrize("harm", [_remove, _replace_by_directory, _replace_by_fifo, _replace_by_file])
def test_whatever_takes_the_place_of_a_log_harms_nobody(harm: Callable[[Path], None], tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 200, 3)
    log.write(b"stdout", b"before\n")
    harm(Path(path))
    for number in range(50):
        log.write(b"stdout", b"%d\n" % number)
    if harm is _remove:
        assert Path(path).read_bytes().endswith(b" 49\n")
    if harm is _replace_by_file:
        assert (
            any(b"somebody else's" in file.read_bytes() for file in tmp_path.iterdir())
            or len(list(tmp_path.iterdir())) == 3
        )
    os.close(log.fd)


def test_a_log_that_somebody_else_rotates_is_gone_on_with_under_its_name(tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 200, 2)
    log.write(b"stdout", b"".join(b"%d\n" % number for number in range(7)))
    older = Path(f"{path}.1").read_bytes()
    os.rename(path, tmp_path / "archived")
    Path(path).touch()
    for number in range(7, 11):
        log.write(b"stdout", b"%d\n" % number)
    assert Path(f"{path}.1").read_bytes() == older, "what he has made is no older log of ours"
    assert Path(path).read_bytes().endswith(b" 10\n")
    os.close(log.fd)


def test_a_log_that_somebody_has_put_there_is_measured(tmp_path: Path) -> None:
    line = len(encode_cri(b"stdout", stamp(1), b"0\n"))
    log, path = rotating(str(tmp_path), encode_cri, 4 * line, 3)
    log.write(b"stdout", b"0\n1\n2\n3\n")
    os.rename(path, tmp_path / "archived")
    Path(path).write_bytes(b"x" * (4 * line - 2) + b"\n")
    log.write(b"stdout", b"4\n")
    assert {file.name: file.stat().st_size for file in tmp_path.iterdir()} == {
        "archived": 4 * line,
        "log.1": 4 * line - 1,
        "log": line,
    }
    os.close(log.fd)


def test_a_line_that_was_cut_short_stays_behind_in_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = len(encode_cri(b"stdout", stamp(1), b"0\n"))
    log, path = rotating(str(tmp_path), encode_cri, line, 3)
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(fd, data[:10])

    monkeypatch.setattr("posix.write", full)
    log.write(b"stdout", b"0\n")
    monkeypatch.undo()
    log.write(b"stdout", b"1\n")
    assert (tmp_path / "log.1").stat().st_size == 10
    assert Path(path).read_bytes().startswith(b"20")
    assert Path(path).stat().st_size == line, "and no empty line before it"
    os.close(log.fd)


def test_a_fifo_is_never_full(tmp_path: Path) -> None:
    path = tmp_path / "log"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    log = RotatingLog(fd, encode_cri, str(path), 100, 3)
    for number in range(20):
        log.write(b"stdout", b"%d\n" % number)
    assert os.listdir(tmp_path) == ["log"]
    assert len(os.read(fd, 1 << 16).splitlines()) == 20
    os.close(fd)


@pytest.mark.parametrize("links", [True, False])
def test_there_is_a_log_of_the_name_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Where the file system has hard links; without them there is one again a moment later."""
    log, path = rotating(str(tmp_path), encode_cri, 200, 4)
    place, placed = rotation._place, []

    def look(old: str, new: str, copied: bool) -> None:
        place(old, new, copied)
        placed.append(os.path.exists(path))

    def refuse(old: str, new: str) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(rotation, "_place", look)
    if not links:
        monkeypatch.setattr("posix.link", refuse)
    log.write(b"stdout", b"".join(b"%d\n" % number for number in range(18)))
    assert all(placed) == links
    assert len(placed) >= 5
    files = [tmp_path / name for name in ("log", "log.1", "log.2", "log.3")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600] * 4
    assert all(file.stat().st_nlink == 1 for file in files)
    os.close(log.fd)


def test_a_log_that_can_go_nowhere_grows(tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 200, 3)
    (tmp_path / "log.1").mkdir()
    log.write(b"stdout", b"".join(b"%d\n" % number for number in range(50)))
    source = FileSource(path, 2, -1, None)
    assert text(drain(source))[1].split() == [b"%d" % number for number in range(50)]
    source.close()
    os.close(log.fd)


def test_a_line_that_a_full_disk_has_cut_short_spoils_no_other(tmp_path: Path) -> None:
    """A file size limit stands for the full disk: it lets half a line pass, too."""
    pid = os.fork()
    if pid == 0:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        log = LogFile(fd)
        log.write(b"stdout", b"whole\n")
        size = os.fstat(fd).st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
        log.write(b"stdout", b"lost\n")
        log.write(b"stdout", b"lost as well\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.write(b"stdout", b"after\n")
        os._exit(0)
    os.waitpid(pid, 0)
    assert text(list(entries((tmp_path / "log").read_bytes())))[1] == b"whole\nafter\n"


def test_a_rotation_that_a_kill_has_interrupted_is_read_and_gone_on_with(tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 1000, 4)
    log.write(b"stdout", b"".join(b"%d\n" % number for number in range(60)))
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["log", "log.1", "log.2"]

    def read() -> list[int]:
        source = FileSource(path, 3, -1, None)
        found = [int(word) for word in text(drain(source))[1].split()]
        source.close()
        return found

    os.rename(f"{path}.2", f"{path}.3")
    assert read() == list(range(60))  # with a gap
    os.rename(f"{path}.1", f"{path}.2")
    assert read() == list(range(60))
    os.link(path, f"{path}.1")
    assert read() == list(range(60))  # with a file that has two names
    os.link(path, f"{path}.rotating")
    log.write(b"stdout", b"".join(b"%d\n" % number for number in range(60, 75)))
    found = read()
    assert found == list(range(found[0], 75))
    assert found[0] < 45
    assert not os.path.exists(f"{path}.rotating")
    os.close(log.fd)


def test_what_is_read_while_it_is_begun_anew_again_and_again_has_no_gap_and_no_line_twice(tmp_path: Path) -> None:
    log, path = rotating(str(tmp_path), encode_cri, 500, 40)
    log.write(b"stdout", b"0\n")
    pid = os.fork()
    if pid == 0:
        for number in range(1, 10**9):
            log.write(b"stdout", b"%d\n" % number)
    try:
        for _ in range(150):
            source = FileSource(path, 39, -1, None)
            found = [int(word) for word in text(drain(source))[1].split()]
            source.close()
            assert found == list(range(found[0], found[0] + len(found)))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    os.close(log.fd)
