"""What `exec` has at work is shown, and ends with the container; descriptors that are passed on; attaching to watch."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.test_attach import DETACH, Terminal, terminals
from tests.support.command import Rootless, executable, wait_until

__all__ = ["terminals"]

NONE = ("--network", "none")


@pytest.fixture
def box(rl: Rootless, image: str) -> Rootless:
    rl("run", "-d", "--name", "box", *NONE, image, "sleep", "1000")
    return rl


def sessions(rl: Rootless) -> list[str]:
    found: list[str] = rl.inspect("box")["ExecIDs"]
    return found


def session_files(rl: Rootless) -> list[Path]:
    return [*rl.runroot.glob("containers/*/*exec-*")]


def test_each_way_to_run_a_command_is_shown_while_it_is_at_work(box: Rootless, terminals: list[Terminal]) -> None:
    until = "echo up; while ! test -e /{}; do sleep 0.05; done"
    identity = box.out("exec", "-d", "box", "sh", "-c", until.format("first"))
    assert len(identity) == 64
    assert sessions(box) == [identity]
    foreground = box.popen("exec", "box", "sh", "-c", until.format("second"))
    assert foreground.stdout is not None
    foreground.stdout.readline()
    terminal = Terminal(box, "exec", "-it", "box", "sh")
    terminals.append(terminal)
    terminal.expect(b"# ")
    assert sessions(box)[0] == identity
    assert len(sessions(box)) == 3
    terminal.type(DETACH)
    assert terminal.wait() == 0
    assert len(sessions(box)) == 3
    box("exec", "box", "touch", "/second")
    assert foreground.wait(10) == 0
    assert len(sessions(box)) == 2
    box("exec", "box", "touch", "/first")
    wait_until(lambda: identity not in sessions(box), what="the end of the session")
    assert len(session_files(box)) == 1


def test_all_end_with_the_container(box: Rootless) -> None:
    for n in range(5):
        box("exec", "-d", *(["-t"] if n % 2 else []), "box", "sleep", "1000")
    foreground = box.popen("exec", "box", "sleep", "1000")
    wait_until(lambda: len(sessions(box)) == 6)
    box("stop", "-t", "0", "box")
    assert foreground.wait(10) == 137
    assert sessions(box) == []
    assert session_files(box) == []
    box("start", "box")
    assert sessions(box) == []


def test_one_whose_parent_was_killed_is_not_shown(box: Rootless) -> None:
    foreground = box.popen("exec", "box", "sh", "-c", "echo up; sleep 1000")
    assert foreground.stdout is not None
    foreground.stdout.readline()
    assert len(session_files(box)) == 1
    foreground.send_signal(signal.SIGKILL)
    foreground.communicate()
    wait_until(lambda: sessions(box) == [])
    assert session_files(box) == []


@pytest.mark.parametrize(("command", "code"), [("no-such", 127), ("/etc", 126)])
def test_a_command_that_cannot_run_leaves_no_session(box: Rootless, command: str, code: int) -> None:
    assert box("exec", "box", command, check=False).returncode == code
    assert box("exec", "-d", "box", command, check=False).returncode == code
    assert session_files(box) == []


def test_the_end_of_a_detached_command_is_an_event(box: Rootless) -> None:
    container = box.inspect("box")["Id"]
    box("exec", "-d", "box", "sh", "-c", "exit 3")
    log = box.root / "events/log"
    told = ('"action":"exec_died"', f'"id":"{container}"', '"exit":3')
    wait_until(lambda: any(all(part in line for part in told) for line in log.read_text().splitlines()))
    assert not list((box.runroot / "containers" / container).glob("exec-*")), "its file goes before that is told"


def test_the_latest_container(box: Rootless) -> None:
    assert box.out("exec", "-l", "echo", "hi") == "hi"
    done = box("exec", "--latest", check=False)
    assert done.returncode == 125
    done = box("exec", "box", check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (125, "Error: exec: COMMAND... is missing")


def test_a_paused_container_takes_no_command(box: Rootless) -> None:
    if box("pause", "box", check=False).returncode:
        pytest.skip("there is no pause here")
    done = box("exec", "box", "true", check=False)
    assert done.returncode == 125
    assert "paused" in done.stderr
    box("unpause", "box")
    assert box("exec", "box", "true").returncode == 0


@pytest.mark.parametrize(
    "how", [["--preserve-fds", "2"], ["--preserve-fd", "3,4"], ["--preserve-fd=3", "--preserve-fd=4"]]
)
@pytest.mark.parametrize("verb", ["exec", "run"])
def test_descriptors_are_passed_on(box: Rootless, image: str, how: list[str], verb: str) -> None:
    where = ["box"] if verb == "exec" else ["--rm", *NONE, image]
    script = "cat <&3; echo out >&4; ls /proc/self/fd | xargs echo"
    reader, writer = os.pipe()
    out, into = os.pipe()
    os.write(writer, b"passed\n")
    os.close(writer)
    options = " ".join([verb, *how, *where])
    shell = f"exec 3<&{reader} 4>&{into} {reader}<&- {into}>&-; {executable()} {options} sh -c '{script}'"
    done = subprocess.run(
        ["bash", "-c", shell], pass_fds=(reader, into), capture_output=True, text=True, env=box.environment
    )
    os.close(into)
    assert done.stdout.splitlines() == ["passed", "0 1 2 3 4 5"], done.stderr
    assert os.read(out, 100) == b"out\n"
    for fd in (reader, out):
        os.close(fd)


def test_only_those_that_are_named(box: Rootless) -> None:
    shell = f"{executable()} exec --preserve-fd 5 box sh -c 'ls /proc/self/fd | xargs echo'"
    shell += " 3</dev/null 4</dev/null 5</dev/null"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=box.environment, check=True)
    assert done.stdout == "0 1 2 3 5\n"  # 3 is the directory that ls reads


@pytest.mark.parametrize(
    "words", [["--preserve-fds", "1"], ["--preserve-fd", "9"], ["--preserve-fd", "1"], ["--preserve-fd", "x"]]
)
def test_descriptors_that_are_not_there(box: Rootless, image: str, words: list[str]) -> None:
    for command in (["exec", *words, "box", "true"], ["run", "--name", "new", *words, *NONE, image, "true"]):
        done = box(*command, check=False, close_fds=True)
        assert done.returncode == 125
        assert done.stderr.startswith(f"Error: {words[0]}")
    assert box("container", "exists", "new", check=False).returncode == 1


def test_attaching_without_input_only_watches(rl: Rootless, image: str) -> None:
    rl("run", "-d", "-i", "--name", "c", *NONE, image, "cat")
    watcher = rl.popen("attach", "--no-stdin", "c", stdin=subprocess.PIPE)
    assert watcher.stdin is not None
    watcher.stdin.write(b"of the watcher\n")
    watcher.stdin.close()
    time.sleep(0.3)
    other = rl.popen("attach", "--latest", stdin=subprocess.PIPE)
    assert other.communicate(b"of the other\n", timeout=10)[0] == b"of the other\n"
    assert watcher.stdout is not None
    assert watcher.stdout.read() == b"of the other\n"
    assert watcher.wait(10) == 0


def test_a_terminal_of_exec_is_resized(box: Rootless, terminals: list[Terminal]) -> None:
    terminal = Terminal(box, "exec", "-it", "box", "sh")
    terminals.append(terminal)
    terminal.expect(b"# ")
    for rows in range(10, 40):
        terminal.resize(rows, 70)
    terminal.resize(41, 62)
    time.sleep(0.3)
    terminal.type(b"stty size; exit\n")
    terminal.expect(b"41 62")
    assert terminal.wait() == 0
