"""Files that the user names and that are no plain files: fifos, links, devices, what comes as /dev/fd/N."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.images import NAME

NONE = ("--network", "none")

READERS = {
    "env-file": ("create", *NONE, "--env-file", "FIFO", NAME),
    "label-file": ("create", *NONE, "--label-file", "FIFO", NAME),
    "seccomp": ("run", "--rm", *NONE, "--security-opt", "seccomp=FIFO", NAME),
    "cidfile": ("stop", "--cidfile", "FIFO"),
    "hosts-file": ("create", *NONE, "--hosts-file", "FIFO", NAME),
    "load": ("load", "-q", "-i", "FIFO"),
    "import": ("import", "-q", "FIFO"),
    "secret": ("secret", "create", "s", "FIFO"),
    "authfile": ("pull", "-q", "--authfile", "FIFO", "localhost:1/x"),
    "volume": ("volume", "import", "v", "FIFO"),
    "commit": ("commit", "-q", "--config", "FIFO", "c"),
}


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("what", READERS)
def test_who_waits_for_a_fifo_says_so_and_can_be_interrupted(rl: Rootless, image: str, fifo: Path, what: str) -> None:
    if what == "volume":
        rl("volume", "create", "v")
    words = [str(fifo) if word == "FIFO" else word.replace("FIFO", str(fifo)) for word in READERS[what]]
    process = rl.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=fifo.parent)
    try:
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        assert f"waiting for somebody to write to {fifo}" in said
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in (130, -signal.SIGINT)
    finally:
        process.kill()
        process.communicate()
        rl("volume", "rm", "-f", "v", check=False)
    assert rl.out("ps", "-aq") == ""


def test_a_fifo_that_somebody_writes_to_is_read(rl: Rootless, image: str, fifo: Path) -> None:
    writer = threading.Thread(target=fifo.write_text, args=("A=through a fifo\n",))
    writer.start()
    done = rl("run", "--rm", *NONE, "--env-file", str(fifo), image, "sh", "-c", "echo $A")
    writer.join()
    assert (done.stdout, done.stderr) == ("through a fifo\n", "")


def test_what_the_shell_substitutes_is_read(rl: Rootless, image: str) -> None:
    """`--env-file <(...)` is a pipe, whose writer may have ended before anybody opens it."""
    for text in (b"A=1\n", b""):
        reader, writer = os.pipe()
        os.write(writer, text)
        os.close(writer)
        words = ("run", "--rm", *NONE, "--env-file", f"/dev/fd/{reader}", image, "sh", "-c", "echo A=$A")
        done = rl(*words, pass_fds=(reader,))
        os.close(reader)
        assert (done.stdout, done.stderr) == (text.decode() or "A=\n", "")


def test_a_device_that_never_ends_is_refused(rl: Rootless, image: str) -> None:
    done = rl("create", *NONE, "--env-file", "/dev/zero", image, check=False, timeout=60)
    assert done.returncode == 125
    assert "more than" in done.stderr


def test_a_process_id_takes_the_place_of_a_link_and_of_what_was_there(rl: Rootless, image: str, tmp_path: Path) -> None:
    precious, link = tmp_path / "precious", tmp_path / "pid"
    precious.write_text("mine")
    link.symlink_to(precious)
    rl("run", "--rm", *NONE, "--pidfile", str(link), image, "true")
    assert precious.read_text() == "mine"
    assert not link.is_symlink()
    assert int(link.read_text()) > 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("pid")) == ["pid"]


def test_a_process_id_for_a_fifo_that_nobody_reads_is_refused(rl: Rootless, image: str, fifo: Path) -> None:
    done = rl("run", "--rm", *NONE, "--pidfile", str(fifo), image, "true", check=False, timeout=30)
    assert done.returncode == 125
    assert f"writing a process id to {fifo}" in done.stderr


def test_a_cidfile_is_made_anew_or_not_at_all(rl: Rootless, image: str, tmp_path: Path) -> None:
    precious, link = tmp_path / "precious", tmp_path / "cid"
    link.symlink_to(precious)  # which is not there
    done = rl("create", *NONE, "--cidfile", str(link), image, check=False)
    assert (done.returncode, precious.exists()) == (125, False)
    assert "exists already" in done.stderr
    assert rl.out("ps", "-aq") == ""


def test_an_image_id_is_written_at_once_or_to_the_fifo(rl: Rootless, image: str, tmp_path: Path, fifo: Path) -> None:
    rl("create", "--name", "c", *NONE, image)
    (tmp_path / "id").write_text("x" * 200)
    made = [rl.out("commit", "-q", "--iidfile", str(tmp_path / "id"), "c")]
    assert (tmp_path / "id").read_text() == made[0]
    process = rl.popen(*("commit", "-q", "--iidfile", str(fifo), "c"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert f"waiting for somebody to read {fifo}" in process.stderr.readline().decode()
    given = fifo.read_text()
    said, _ = process.communicate(timeout=10)
    made.append(said.decode().strip())
    assert given == made[1]
    rl("rm", "c")
    rl("rmi", *dict.fromkeys(made))


@pytest.mark.parametrize("way", ["rm", "stop"])
def test_a_cidfile_that_has_become_a_fifo_holds_nobody_up(rl: Rootless, image: str, fifo: Path, way: str) -> None:
    path = fifo.with_name("cid")
    rl("run", "-d", "--rm", "--name", "c", "--cidfile", str(path), *NONE, image, "sleep", "100")
    fifo.rename(path)
    rl(way, *(("-f", "-t", "0") if way == "rm" else ("-t", "0")), "c", timeout=20)
    assert rl.out("ps", "-aq") == ""
    assert path.is_fifo()
