"""Restart policies on real containers, detached and in the foreground."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.test_attach import Terminal
from tests.support.command import Rootless, wait_until
from tests.support.leaks import processes_of


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def failing(rl: Rootless, image: str, *options: str, script: str = "echo life; exit 3") -> int:
    """A detached container `c` that ends at once; the pid of its monitor."""
    rl("run", "-d", "--name", "c", "--network", "none", *options, image, "sh", "-c", script)
    return int(rl.inspect("c")["State"]["ConmonPid"])


def waiting(rl: Rootless, at_least: int = 3) -> None:
    """Return when `c` waits to be restarted, for half a second or longer."""

    def long_enough() -> bool:
        found = rl.inspect("c")
        return bool(found["State"]["Restarting"]) and found["RestartCount"] >= at_least

    wait_until(long_enough, what="a long pause")


def test_a_failure_is_tried_again_so_many_times(rl: Rootless, image: str) -> None:
    failing(rl, image, "--restart", "on-failure:2")
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 2 and not rl.inspect("c")["State"]["ConmonPid"])
    found = rl.inspect("c")
    assert rl.out("logs", "c") == "life\n" * 2 + "life"
    assert (found["State"]["ExitCode"], found["State"]["Restarting"]) == (3, False)
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert rl.out("ps", "-a", "--format", "{{.Status}}").startswith("Exited (3)")


@pytest.mark.parametrize("options", [[], ["-d"]], ids=["foreground", "detached"])
def test_lives_follow_each_other_where_no_interpreter_can_be_started(
    rl: Rootless, image: str, options: list[str]
) -> None:
    words = [*options, "--name", "c", "--restart", "on-failure:2", "--network", "none"]
    words = ["rootless", "run", *words, image, "sh", "-c", "echo life; exit 3"]
    path = [str(Path(__file__).parents[2]), *[entry for entry in sys.path if entry]]
    code = f"import sys; sys.path[:0] = {path!r}; sys.executable = '/nonexistent/python'\n"
    code += f"from rootless.cli.main import entry; entry({words!r})"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env=rl.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == (0 if options else 3), done.stderr
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 2 and not rl.inspect("c")["State"]["ConmonPid"])
    assert rl.out("logs", "c").split() == ["life"] * 3
    if not options:
        assert done.stdout == "life\n" * 3
    assert rl.inspect("c")["State"]["ExitCode"] == 3


def test_on_failure_leaves_a_success_alone(rl: Rootless, image: str) -> None:
    failing(rl, image, "--restart", "on-failure", script="exit 0")
    wait_until(lambda: rl.status("c") == "exited")
    assert rl.inspect("c")["RestartCount"] == 0


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_it_is_started_again_whatever_its_exit_code(rl: Rootless, image: str, policy: str) -> None:
    monitor = failing(rl, image, "--restart", policy, script="echo life; exit 0")
    waiting(rl)
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["Pid"], state["ConmonPid"]) == ("restarting", 0, monitor)
    assert rl.out("ps", "--format", "{{.Names}} {{.Status}}").startswith("c Restarting (0)")
    assert rl.out("ps", "-q", "--filter", "status=restarting", "--filter", f"restart-policy={policy}")
    assert rl.out("ps", "-aq", "--filter", "restart-policy=no") == ""
    rl("rm", "-f", "c")


def test_the_monitor_of_many_lives_stays_lean(rl: Rootless, image: str) -> None:
    monitor = failing(rl, image, "--restart", "always", script="test -e /third && exec sleep 60; echo x >>/n;"
                      " test $(wc -l </n) = 3 && touch /third; exit 1")  # fmt: skip
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 3 and rl.status("c") == "running")
    assert rl.inspect("c")["State"]["ConmonPid"] == monitor
    descriptors = sorted(int(name) for name in os.listdir(f"/proc/{monitor}/fd"))
    rl("run", "-d", "--name", "first", "--network", "none", image, "sleep", "60")
    first = rl.inspect("first")["State"]["ConmonPid"]
    assert len(descriptors) == len(os.listdir(f"/proc/{first}/fd"))
    modules = [Path(f"/proc/{pid}/maps").read_text().count(".so") for pid in (monitor, first)]
    assert modules[0] == modules[1]
    rl("rm", "-f", "-t", "0", "c", "first")


def test_every_driver_and_no_process_stays_unreaped(each_driver: Rootless, image: str) -> None:
    rl = each_driver
    monitor = int(failing(rl, image, "--restart", "on-failure", script="echo x >>/n; test $(wc -l </n) = 4 || exit 1;"
                          " exec sleep 60"))  # fmt: skip
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 3 and rl.status("c") == "running", 20)

    def unreaped() -> list[str]:
        children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
        return [pid for pid in children if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"]

    assert len(unreaped()) <= 1, "of the last life at most"
    rl("rm", "-f", "-t", "0", "c")


def test_stop_during_the_pause_works_at_once_and_ends_the_policy(rl: Rootless, image: str) -> None:
    monitor = failing(rl, image, "--restart", "always")
    waiting(rl, 4)
    started = time.monotonic()
    assert rl.out("stop", "c") == "c"
    assert time.monotonic() - started < 5
    wait_until(lambda: gone(monitor), 10, "the end of the monitor")
    assert rl.status("c") == "exited"
    assert rl.out("ps", "-q") == ""


@pytest.mark.parametrize("verb", [("stop", "-t", "0"), ("kill",)])
def test_a_user_who_ends_it_ends_the_policy_until_the_next_start(
    rl: Rootless, image: str, verb: tuple[str, ...]
) -> None:
    failing(rl, image, "--restart", "always", script="echo life; sleep 60")
    rl(*verb, "c")
    found = rl.inspect("c")
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", 0)
    rl("start", "c")
    os.kill(rl.inspect("c")["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 1 and rl.status("c") == "running")
    rl("restart", "-t", "0", "c")
    assert rl.inspect("c")["RestartCount"] == 0
    rl("rm", "-f", "-t", "0", "c")


def test_a_signal_that_tells_it_something_leaves_the_policy(rl: Rootless, image: str) -> None:
    failing(rl, image, "--restart", "always", script="trap 'exit 9' HUP; echo up; while :; do sleep 0.1; done")
    wait_until(lambda: rl.out("logs", "c"))
    rl("kill", "-s", "HUP", "c")
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 1)
    rl("rm", "-f", "-t", "0", "c")


@pytest.mark.parametrize("verb", [("rm", "-f"), ("kill",), ("start",), ("stop", "--all")])
def test_what_a_user_does_during_the_pause(rl: Rootless, image: str, verb: tuple[str, ...]) -> None:
    monitor = failing(rl, image, "--restart", "always", script="test -e /go && exec sleep 60; exit 1")
    waiting(rl, 4)
    refused = rl("rm", "c", check=False)
    assert refused.returncode == 2
    assert "restarting" in refused.stderr
    rl(*verb, *(() if "--all" in verb else ("c",)))
    wait_until(lambda: gone(monitor), 10, "the end of the monitor")
    if verb[0] == "rm":
        assert rl.out("ps", "-aq") == ""
    elif verb[0] != "start":
        assert rl.status("c") == "exited"
    rl("rm", "-f", "c")


def test_a_monitor_that_is_killed_during_the_pause_is_noticed(rl: Rootless, image: str) -> None:
    monitor = failing(rl, image, "--restart", "always")
    waiting(rl)
    os.kill(monitor, signal.SIGKILL)
    wait_until(lambda: gone(monitor) or rl.status("c") == "exited")
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["ExitCode"], state["Restarting"]) == ("exited", 3, False)
    assert "its monitor was killed" in state["Error"]


def test_a_monitor_that_is_told_to_end_during_the_pause_ends_the_policy(rl: Rootless, image: str) -> None:
    monitor = failing(rl, image, "--restart", "always")
    waiting(rl, 4)
    os.kill(monitor, signal.SIGTERM)
    wait_until(lambda: gone(monitor), 10)
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["Error"]) == ("exited", "")


@pytest.mark.parametrize("step", ["ended", "recorded", "restarting"])
def test_kills_between_two_lives(rl: Rootless, image: str, step: str) -> None:
    rl(
        *("run", "-d", "--name", "c", "--network", "none", "--restart", "always", image, "sh", "-c", "exit 3"),
        env={"ROOTLESS_TEST_DIE_AT": step},
    )
    wait_until(lambda: rl.status("c") == "exited")
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
    rl("rm", "c")


def test_after_a_reboot_those_that_always_run_are_started_by_their_policy(rl: Rootless, image: str) -> None:
    for policy in ("always", "no"):
        rl("create", "--name", policy, "--restart", policy, "--network", "none", image, "sleep", "60")
    with sqlite3.connect(rl.root / "db.sqlite") as database:
        database.execute(
            "UPDATE containers SET state = 'restarting', monitor_pid = 1, monitor_start = 1, boot_id = 'another'"
            " WHERE name = 'always'"
        )
    database.close()
    state = rl.inspect("always")["State"]
    assert state["Status"] == "exited"
    assert "restarted" in state["Error"]
    rl("start", "--all", "--filter", "restart-policy=always")  # what podman-restart.service does
    assert (rl.status("always"), rl.status("no")) == ("running", "created")
    rl("rm", "-f", "-t", "0", "always", "no")


def test_streams_of_several_lives(rl: Rootless, image: str) -> None:
    """`wait` returns at the first end; `logs -f` goes on to the last."""
    rl("create", "--name", "c", "--network", "none", "--restart", "on-failure:2", image, "sh", "-c",
       "sleep 0.3; echo life; exit 3")  # fmt: skip
    rl("start", "c")
    following = rl.popen("logs", "-f", "c")
    assert rl.out("wait", "c") == "3"
    assert rl.inspect("c")["RestartCount"] < 2
    out, _ = following.communicate(timeout=20)
    assert out == b"life\n" * 3


def test_in_the_foreground_the_command_stays_for_all_lives(rl: Rootless, image: str) -> None:
    done = rl(
        *("run", "--rm", "-i", "--network", "none", "--restart", "on-failure:2", image),
        *("sh", "-c", "read line; echo life $line; echo error >&2; exit 4"),
        input="one\ntwo\nthree\n",
        check=False,
    )
    assert done.returncode == 4
    assert done.stdout.splitlines()[0].startswith("life one")
    assert done.stdout.count("life") == 3
    assert done.stderr == "error\n" * 3
    assert rl.out("ps", "-aq") == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_foreground_ends_the_policy(rl: Rootless, image: str, number: signal.Signals) -> None:
    process = rl.popen("run", "--name", "c", "--network", "none", "--restart", "always", image, "sh", "-c", "exit 5")
    wait_until(lambda: rl.out("ps", "-aq"))
    waiting(rl, 4)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == 5
    assert rl.status("c") == "exited"


def test_ctrl_c_while_it_runs_ends_container_and_policy(rl: Rootless, image: str) -> None:
    process = rl.popen(
        *("run", "--name", "c", "--network", "none", "--restart", "always", image),
        *("sh", "-c", "trap 'exit 6' INT; echo up; while :; do sleep 0.1; done"),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 6
    found = rl.inspect("c")
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", 0)
    process.communicate()


def test_on_a_terminal_the_command_stays_for_all_lives(rl: Rootless, image: str) -> None:
    terminal = Terminal(rl, "run", "-it", "--name", "c", "--network", "none", "--restart", "always", image,
                        "sh", "-c", "echo life; read line; echo got $line; exit 7")  # fmt: skip
    for word in ("one", "two"):
        terminal.expect(b"life")
        terminal.type(word.encode() + b"\n")
        terminal.expect(b"got " + word.encode())
    terminal.expect(b"life")
    rl("stop", "-t", "0", "c")
    assert terminal.wait() == 137
    terminal.close()
    assert rl.inspect("c")["RestartCount"] == 2


def test_published_ports_come_back(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "-p", "127.0.0.1::80", "--restart", "always", image,
       "sh", "-c", "echo hello | nc -l -p 80 -w 1")  # fmt: skip
    port = rl.inspect("c")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    answers = []
    for _ in range(2):
        wait_until(lambda: rl.status("c") == "running")

        def answered() -> bytes:
            try:
                with socket.create_connection(("127.0.0.1", int(port)), 1) as connection:
                    return connection.recv(10)
            except OSError:
                return b""

        deadline = time.monotonic() + 10
        while not (answer := answered()) and time.monotonic() < deadline:
            time.sleep(0.05)
        answers.append(answer)
    assert answers == [b"hello\n", b"hello\n"]
    rl("rm", "-f", "-t", "0", "c")


def test_what_stands_in_the_way_of_a_restart_is_told_and_tried_again(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "-p", "127.0.0.1::80", "--restart", "always", image,
       "sh", "-c", "test -e /second && exec sleep 60; touch /second; sleep 1")  # fmt: skip
    port = int(rl.inspect("c")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def takes() -> bool:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

    with taken:
        wait_until(takes, what="the port in our hands")
        taken.listen()
        wait_until(lambda: str(port) in rl.inspect("c")["State"]["Error"], what="the reason")
        assert rl.inspect("c")["State"]["ExitCode"] == 0, "of its last life"
    wait_until(lambda: rl.status("c") == "running", 20)
    assert rl.inspect("c")["State"]["Error"] == ""
    rl("rm", "-f", "-t", "0", "c")


def test_with_rm_it_is_removed_at_its_last_end(rl: Rootless, image: str) -> None:
    failing(rl, image, "--rm", "--restart", "on-failure:1")
    wait_until(lambda: rl.out("ps", "-aq") == "")


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_rm_and_a_policy_that_never_ends_contradict_each_other(rl: Rootless, image: str, policy: str) -> None:
    done = rl("run", "--rm", "--restart", policy, image, "true", check=False)
    assert (done.returncode, rl.out("ps", "-aq")) == (125, "")
    assert "--rm" in done.stderr


def test_everybody_at_once_and_a_container_that_always_ends(rl: Rootless, image: str) -> None:
    """Whatever meets whichever moment of an end, a pause and a start: nobody waits long, and nothing is left."""
    command = ("--name", "c", "--network", "none", "--restart", "always", image, "sh", "-c", "echo life; exit 1")
    verbs = [
        ("stop", "c"),
        ("start", "c"),
        ("kill", "c"),
        ("restart", "-t", "0", "c"),
        ("rm", "-f", "c"),
        ("start", "c"),
    ]
    for turn in range(4):
        rl("run", "-d", *command)
        started = time.monotonic()
        running = [rl.popen(*verb) for verb in (*verbs[turn:], *verbs[:turn])]
        for process, verb in zip(running, (*verbs[turn:], *verbs[:turn]), strict=True):
            _, error = process.communicate(timeout=30)
            assert b"Traceback" not in error, error
            assert b"internal" not in error, error
            if verb[0] == "rm":
                assert process.returncode == 0, error
        assert time.monotonic() - started < 20
        assert rl.out("ps", "-aq") == ""
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
