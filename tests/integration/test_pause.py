"""pause, unpause: all processes stand still, and the row says so, whatever comes in between."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rootless.engine.freeze import let_go, stop_all
from tests.support.command import Rootless, wait_until

NONE = ("--network", "none")
FAMILY = "sleep 71 & (sleep 72 & exec sleep 73) & exec sleep 74"


def inside(pid: int) -> list[int]:
    """The processes in the pid namespace of a process, as the host numbers them."""
    namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                found.append(int(name))
        except OSError:
            continue
    return found


def letter(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def letters(rl: Rootless, name: str) -> str:
    """The state letters of the container's processes, sorted."""
    return "".join(sorted(letter(pid) for pid in inside(rl.inspect(name)["State"]["Pid"])))


def stands(rl: Rootless, name: str, expected: str) -> bool:
    return letters(rl, name) == expected


def test_all_processes_stand_still_and_go_on(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", FAMILY)
    wait_until(lambda: letters(rl, "c") == "SSSS")
    assert rl.out("pause", "c") == "c"
    assert letters(rl, "c") == "TTTT"
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["Paused"], state["Running"]) == ("paused", True, False)
    assert rl.out("ps", "-a", "--format", "{{.State}} {{.Status}}").startswith("paused ")
    assert rl.out("ps", "-aq", "--filter", "status=paused") != ""
    assert rl.out("unpause", "c") == "c"
    assert letters(rl, "c") == "SSSS"
    assert rl.status("c") == "running"


def test_who_stood_still_before_does_so_afterwards(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", FAMILY)
    wait_until(lambda: letters(rl, "c") == "SSSS")
    rl("exec", "c", "sh", "-c", "kill -STOP $(pidof sleep | tr ' ' '\\n' | head -n 1)")
    wait_until(lambda: letters(rl, "c") == "SSST")
    rl("pause", "c")
    assert letters(rl, "c") == "TTTT"
    rl("unpause", "c")
    assert letters(rl, "c") == "SSST"


def test_a_container_that_forks_all_the_time(rl: Rootless, image: str) -> None:
    script = "for n in 1 2 3; do while :; do /bin/true & /bin/true; done & done; wait"
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", script)
    pid = rl.inspect("c")["State"]["Pid"]
    for _ in range(3):
        rl("pause", "c")
        still = {one: letter(one) for one in inside(pid)}
        assert set(still.values()) <= set("TZX"), still
        time.sleep(0.1)
        assert {one: letter(one) for one in inside(pid)} == still, "nobody is born, nobody ends"
        rl("unpause", "c")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("pause", "c"), 125, "already paused"),
        (("exec", "c", "true"), 125, "it is paused"),
        (("stop", "c"), 125, "it is paused"),
        (("restart", "c"), 125, "it is paused"),
        (("start", "c"), 125, "it is paused"),
        (("attach", "c"), 125, "it is paused"),
        (("rm", "c"), 2, "it is paused"),
        (("kill", "-s", "CONT", "c"), 125, "rootless unpause c"),
        (("init", "c"), 125, "it is paused already"),
    ],
)
def test_what_a_paused_container_refuses(
    rl: Rootless, image: str, words: tuple[str, ...], code: int, said: str
) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "60")
    rl("pause", "c")
    done = rl(*words, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert (rl.status("c"), letters(rl, "c")) == ("paused", "T")


def test_what_a_paused_container_allows(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", "echo said; exec sleep 60")
    wait_until(lambda: rl.out("logs", "c") == "said")
    rl("pause", "c")
    assert rl.out("logs", "c") == "said"
    assert "sleep" in rl.out("top", "c")
    rl("kill", "c")
    assert (rl.status("c"), rl.inspect("c")["State"]["ExitCode"]) == ("exited", 137)
    rl("start", "c")
    rl("pause", "c")
    assert rl.out("rm", "-f", "-t", "0", "c") == "c"


def test_only_what_runs_is_paused_and_only_what_is_paused_goes_on(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image, "sleep", "60")
    for words in (("pause", "c"), ("unpause", "c")):
        done = rl(*words, check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert "(created)" in done.stderr
    rl("start", "c")
    assert "not paused (running)" in rl("unpause", "c", check=False).stderr


def test_a_process_that_waits_in_the_kernel_for_one_that_it_has_made(tmp_path: Path) -> None:
    """posix_spawn makes it by vfork: the parent cannot stop before the child has executed its program."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    opens = f"[(os.POSIX_SPAWN_OPEN, 0, {str(fifo)!r}, os.O_RDONLY, 0)]"
    script = f"import os; os.waitpid(os.posix_spawn('/bin/true', ['true'], {{}}, file_actions={opens}), 0)"
    words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", sys.executable, "-c", script]
    with subprocess.Popen(words) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: [letter(int(pid)) for pid in children.read_text().split()] == ["D"], what="the child's open")
        init = int(children.read_text())
        stopped: dict[int, int] = {}
        assert stop_all(init, stopped, 5)
        assert sorted(map(letter, inside(init))) == ["D", "T"]
        assert set(stopped) == set(inside(init))
        let_go(stopped)
        fifo.write_text("")
        assert process.wait(10) == 0


def test_several_at_once(rl: Rootless, image: str) -> None:
    ids = [rl.out("run", "-d", "--name", f"c{n}", "--label", f"n={n}", *NONE, image, "sleep", "60") for n in range(3)]
    rl("create", "--name", "other", *NONE, image, "true")
    assert rl.out("pause", "--filter", "label=n=1") == ids[1]
    assert sorted(rl.out("pause", "--all").split()) == sorted([ids[0], ids[2]])
    assert rl.out("stop", "--all") == "", "as Podman's, which cannot stop them"
    assert rl.out("unpause", "-f", "label=n=2") == ids[2]
    assert sorted(rl.out("unpause", "-a").split()) == sorted(ids[:2])
    assert rl.out("pause", "-a", "--filter", "label=n=7") == ""
    done = rl("pause", "c0", "-f", "label=n=1", check=False)
    assert done.returncode == 125
    assert "exclude each other" in done.stderr
    done = rl("pause", "--latest", "--all", check=False)
    assert done.returncode == 125


@pytest.mark.parametrize("step", ["pause-recorded", "pause-stopped", "pause-listed", "unpause-let-go"])
def test_killed_in_the_middle_unpause_mends_it(rl: Rootless, image: str, step: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", FAMILY)
    wait_until(lambda: letters(rl, "c") == "SSSS")
    if step.startswith("unpause"):
        rl("pause", "c")
    verb = step.partition("-")[0]
    died = rl(verb, "c", env={"ROOTLESS_TEST_DIE_AT": step}, check=False)
    assert died.returncode == -signal.SIGKILL
    assert rl.status("c") == "paused"
    rl("unpause", "c")
    assert (rl.status("c"), letters(rl, "c")) == ("running", "SSSS")
    rl("pause", "c")
    assert letters(rl, "c") == "TTTT"


def test_a_command_that_comes_in_at_that_moment_stands_still_too(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "60")
    for _ in range(5):
        commands = [rl.popen("exec", "c", "sleep", "0.2"), rl.popen("exec", "-d", "c", "sleep", "0.2")]
        rl("pause", "c")
        for command in commands[1:]:
            command.wait(30)
        wait_until(lambda: set(letters(rl, "c")) <= {"T", "Z"}, what="standing still")
        rl("unpause", "c")
        for command in commands:
            command.wait(30)
        wait_until(lambda: letters(rl, "c") == "S", what="the end of the commands")


def test_a_job_that_comes_back_does_not_wake_it(rl: Rootless, image: str) -> None:
    """Whoever types fg sends SIGCONT to the command, which passes signals on."""
    command = rl.popen(
        "run", "--name", "c", *NONE, image, "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"
    )
    wait_until(lambda: rl("exec", "c", "true", check=False).returncode == 0)
    rl("pause", "c")
    command.send_signal(signal.SIGSTOP)
    command.send_signal(signal.SIGCONT)
    time.sleep(0.3)
    assert letter(rl.inspect("c")["State"]["Pid"]) == "T"
    rl("unpause", "c")
    command.send_signal(signal.SIGTERM)
    assert command.wait(20) == 4


@pytest.mark.parametrize(
    "other", [("stop", "-t", "1", "c"), ("kill", "c"), ("rm", "-f", "-t", "0", "c"), ("unpause", "c")]
)
def test_pause_against_others(rl: Rootless, image: str, other: tuple[str, ...]) -> None:
    for _ in range(4):
        rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", FAMILY)
        both = [rl.popen("pause", "c"), rl.popen(*other)]
        for process in both:
            process.wait(30)
            assert b"Traceback" not in process.stderr.read()  # type: ignore[union-attr]
        if rl("container", "exists", "c", check=False).returncode == 0:
            status = rl.status("c")
            assert status in ("running", "paused", "exited")
            if status != "exited":
                expected = "TTTT" if status == "paused" else "SSSS"
                wait_until(functools.partial(stands, rl, "c", expected), what=status)
        rl("rm", "-f", "-t", "0", "c")


def test_commit_pauses_and_leaves_it_as_the_user_wants_it(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sleep", "60")
    rl("pause", "c")
    rl("commit", "-q", "--pause", "c", "kept")
    assert (rl.status("c"), letters(rl, "c")) == ("paused", "T"), "it was so before"
    rl("unpause", "c")
    died = rl("commit", "-q", "--pause", "c", env={"ROOTLESS_TEST_DIE_AT": "paused"}, check=False)
    assert died.returncode == -signal.SIGKILL
    wait_until(lambda: (rl.status("c"), letters(rl, "c")) == ("running", "S"), what="going on")
    for process in [rl.popen("commit", "-q", "--pause", "c"), rl.popen("pause", "c"), rl.popen("unpause", "c")]:
        process.wait(30)
    expected = {"paused": "T", "running": "S"}
    wait_until(lambda: letters(rl, "c") == expected[rl.status("c")], what="the truth")
    rl("rm", "-f", "-t", "0", "c")
    rl("rmi", "kept")
    rl("image", "prune", "-f")


def test_ten_that_pause_and_unpause_take_turns(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", FAMILY)
    for process in [rl.popen("pause" if n % 2 else "unpause", "c") for n in range(10)]:
        assert process.wait(60) in (0, 125)
    if rl.status("c") == "paused":
        assert letters(rl, "c") == "TTTT"
        rl("unpause", "c")
    assert (rl.status("c"), letters(rl, "c")) == ("running", "SSSS")
