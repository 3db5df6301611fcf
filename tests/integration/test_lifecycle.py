"""create, start, stop, kill, wait, restart, rm, ps."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until


def detached(rl: Rootless, image: str, name: str, *command: str, options: tuple[str, ...] = ()) -> str:
    return rl.out("run", "-d", "--name", name, "--network", "none", *options, image, *(command or ("sleep", "60")))


def on_term(action: str) -> tuple[str, ...]:
    return ("sh", "-c", f"trap '{action}' TERM; echo ready; while :; do sleep 0.05; done")


def wait_ready(rl: Rootless, name: str) -> None:
    wait_until(lambda: "ready" in rl.out("logs", name))


def test_created_then_started_then_exited_then_started_again(rl: Rootless, image: str) -> None:
    container_id = rl.out(
        "create", "--name", "c", "--network", "none", image, "sh", "-c", "echo x >> /n; wc -l < /n; exit 5"
    )
    assert len(container_id) == 64
    assert rl.status("c") == "created"
    assert rl("start", "-a", "c", check=False).stdout == "1\n"
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 5, 0)
    assert rl("start", "-a", "c", check=False).stdout == "2\n", "what it wrote is still there"
    assert rl.out("start", "c") == "c"
    assert rl.out("wait", "c") == "5"
    assert rl.out("logs", "c").split() == ["1", "2", "3"]


def test_start_of_a_running_container_is_no_error(rl: Rootless, image: str) -> None:
    detached(rl, image, "c")
    pid = rl.inspect("c")["State"]["Pid"]
    assert rl.out("start", "c") == "c"
    assert rl.inspect("c")["State"]["Pid"] == pid


def test_several_restart_side_by_side(rl: Rootless, image: str) -> None:
    for n in range(4):
        detached(rl, image, f"c{n}", options=("--stop-timeout", "600"))
    before = [rl.inspect(f"c{n}")["State"]["Pid"] for n in range(4)]
    restart = rl.popen("restart", "c0", "c1", "c2", "c3")
    wait_until(lambda: len(rl.out("ps", "-q", "--filter", "status=stopping").split()) == 4, what="all at once")
    rl("kill", "c0", "c1", "c2", "c3")
    assert restart.communicate(timeout=30)[0].split() == [b"c0", b"c1", b"c2", b"c3"]
    after = [rl.inspect(f"c{n}")["State"] for n in range(4)]
    assert all(state["Status"] == "running" and state["Pid"] not in before for state in after)


def test_starting_against_removing(rl: Rootless, image: str) -> None:
    for force in ((), ("-f", "-t", "0")):
        for _ in range(4):
            rl("create", "--name", "c", "--network", "none", image, "sleep", "60")
            both = [rl.popen("start", "c"), rl.popen("rm", *force, "c")]
            codes = [process.wait(30) for process in both]
            assert codes[0] in (0, 125)
            assert codes[1] in ((0,) if force else (0, 2))
            for process in both:
                assert process.stderr is not None
                assert b"Traceback" not in process.stderr.read()
            left = rl.out("ps", "-a", "--format", "{{.Names}} {{.State}}")
            assert left in (("",) if force else ("", "c running", "c created")), codes
            rl("rm", "-f", "-t", "0", "c")


def test_two_starts_at_once_make_one_run(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "sh", "-c", "echo once; sleep 30")
    for process in [rl.popen("start", "c") for _ in range(6)]:
        process.wait(30)
    wait_until(lambda: rl.out("logs", "c") == "once")
    assert rl.status("c") == "running"


def test_stop_sends_term_and_keeps_the_exit_code(rl: Rootless, image: str) -> None:
    detached(rl, image, "c", *on_term("exit 9"))
    wait_ready(rl, "c")
    assert rl.out("stop", "c") == "c"
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 9)
    assert state["FinishedAt"] > state["StartedAt"]


@pytest.mark.parametrize(
    ("words", "patience"),
    [
        (("stop", "-t", "1"), "1 second"),
        (("rm", "-f", "-t", "1"), "1 second"),
        (("restart", "-t", "1"), "1 second"),
        (("stop",), "2 seconds"),
    ],
)
def test_a_stop_that_has_to_kill_says_so(rl: Rootless, image: str, words: tuple[str, ...], patience: str) -> None:
    options = ("--stop-signal", "USR1", "--stop-timeout", "2")
    detached(rl, image, "c", "sh", "-c", "trap '' USR1; echo ready; sleep 100", options=options)
    wait_ready(rl, "c")
    done = rl(*words, "c")
    assert done.stdout == "c\n"
    told = f"StopSignal SIGUSR1 failed to stop container c in {patience}, resorting to SIGKILL"
    assert done.stderr == f"Warning: {told}\n"


def test_a_stop_that_is_to_kill_at_once_says_nothing(rl: Rootless, image: str) -> None:
    detached(rl, image, "c", "sleep", "100")
    assert rl("stop", "-t", "0", "c").stderr == ""


def test_stop_of_a_program_that_dies_of_term_is_143(rl: Rootless, image: str) -> None:
    # A shell that is pid 1 does not die of it; one with a handler that raises it again in a child's place does.
    detached(rl, image, "c", *on_term("exit 143"))
    wait_ready(rl, "c")
    rl("stop", "c")
    assert rl.inspect("c")["State"]["ExitCode"] == 143


def test_stop_kills_after_the_timeout(rl: Rootless, image: str) -> None:
    detached(rl, image, "c")
    before = time.monotonic()
    rl("stop", "-t", "1", "c")
    assert 0.9 < time.monotonic() - before < 9, "and not what it takes without -t"
    assert rl.inspect("c")["State"]["ExitCode"] == 137


def test_stop_signal_and_timeout_of_the_container_are_kept(rl: Rootless, image: str) -> None:
    script = "trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    detached(rl, image, "c", "sh", "-c", script, options=("--stop-signal", "USR1", "--stop-timeout", "20"))
    wait_ready(rl, "c")
    config = rl.inspect("c")["Config"]
    assert (config["StopSignal"], config["StopTimeout"]) == ("SIGUSR1", 20)
    rl("stop", "c")
    assert rl.inspect("c")["State"]["ExitCode"] == 3


def test_stop_of_a_stopped_container_is_no_error(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    assert rl.out("stop", "c") == "c"
    assert rl.status("c") == "created"


def test_kill(rl: Rootless, image: str) -> None:
    detached(rl, image, "c", "sh", "-c", "trap 'echo usr' USR2; echo ready; while :; do sleep 0.05; done")
    wait_ready(rl, "c")
    rl("kill", "-s", "SIGUSR2", "c")
    wait_until(lambda: "usr" in rl.out("logs", "c"))
    assert rl.status("c") == "running"
    rl("kill", "c")
    assert rl.inspect("c")["State"]["ExitCode"] == 137
    done = rl("kill", "c", check=False)
    assert done.returncode == 125
    assert "not running" in done.stderr
    assert rl("kill", "-s", "NOPE", "c", check=False).returncode == 125


def test_wait_gives_the_exit_code_also_of_one_that_removes_itself(rl: Rootless, image: str) -> None:
    detached(rl, image, "c", "sh", "-c", "sleep 0.5; exit 6", options=("--rm",))
    assert rl.out("wait", "c") == "6"
    assert rl.out("ps", "-aq") == ""


def test_wait_for_another_state_than_the_end_prints_no_exit_code(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "sh", "-c", "sleep 0.5; exit 6")
    assert rl.out("wait", "--condition", "created", "c") == "-1"
    rl("start", "c")
    assert rl.out("wait", "--condition", "running", "--condition", "exited", "c") == "-1"
    assert rl.out("wait", "--condition", "exited", "c") == "6"
    assert rl.out("wait", "--condition", "stopped", "c") == "6"


def test_wait_for_several(rl: Rootless, image: str) -> None:
    detached(rl, image, "a", "sh", "-c", "exit 1")
    detached(rl, image, "b", "sh", "-c", "sleep 0.3; exit 2")
    assert rl.out("wait", "a", "b").split() == ["1", "2"]


def test_wait_ends_when_the_monitor_is_killed(rl: Rootless, image: str) -> None:
    detached(rl, image, "c")
    waiting = rl.popen("wait", "c")
    time.sleep(0.3)
    os.kill(rl.inspect("c")["State"]["ConmonPid"], signal.SIGKILL)
    out, _ = waiting.communicate(timeout=10)
    assert out == b"137\n"


def test_rm_refuses_a_running_container_and_force_ends_it(rl: Rootless, image: str) -> None:
    container_id = detached(rl, image, "c")
    done = rl("rm", "c", check=False)
    assert done.returncode == 2
    assert "running" in done.stderr
    rl("rm", "-f", "-t", "0", "c")
    assert rl.out("ps", "-aq") == ""
    assert not (rl.root / "containers" / container_id).exists()


def test_rm_of_what_is_not_there(rl: Rootless) -> None:
    assert rl("rm", "nothing", check=False).returncode == 1
    assert rl("rm", "-f", "nothing", check=False).returncode == 0


def test_rm_deletes_files_of_other_users(rl: Rootless, image: str) -> None:
    script = "cd /home/alice && mkdir -p deep/er && touch deep/er/f && chown -R alice deep && chmod 700 deep"
    rl("run", "--name", "c", "--network", "none", image, "sh", "-c", script)
    rl("rm", "c")
    assert os.listdir(rl.root / "containers") == []


def test_the_name_is_free_after_rm(rl: Rootless, image: str) -> None:
    for _ in range(2):
        rl("create", "--name", "same", "--network", "none", image, "true")
        rl("rm", "same")


def test_restart(rl: Rootless, image: str) -> None:
    detached(rl, image, "c")
    before = rl.inspect("c")["State"]["Pid"]
    rl("restart", "-t", "0", "c")
    after = rl.inspect("c")["State"]
    assert after["Running"] is True
    assert after["Pid"] != before


def test_containers_are_found_by_the_beginning_of_their_id(rl: Rootless, image: str) -> None:
    container_id = detached(rl, image, "c")
    assert rl.inspect(container_id[:8])["Name"] == "c"
    assert rl("inspect", "zzzz", check=False).returncode != 0


def test_ps(rl: Rootless, image: str) -> None:
    running = detached(rl, image, "up")
    rl("create", "--name", "made", "--network", "none", image, "true")
    assert rl.out("ps", "-q", "--no-trunc") == running
    listed = {row["Names"][0]: row for row in json.loads(rl.out("ps", "-a", "--format", "json"))}
    assert listed["up"]["State"] == "running"
    assert listed["made"]["State"] == "created"
    assert listed["up"]["Pid"] == rl.inspect("up")["State"]["Pid"]


def test_namespaces_can_be_entered_from_outside(rl: Rootless, image: str) -> None:
    detached(rl, image, "c", options=("--hostname", "inside"))
    pid = str(rl.inspect("c")["State"]["Pid"])
    done = subprocess.run(
        ["nsenter", "-t", pid, "-U", "--preserve-credentials", "-u", "hostname"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("inside\n", "")


def test_anonymous_volumes_go_with_rm_v_and_named_ones_stay(rl: Rootless, image: str) -> None:
    volumes = rl.root / "volumes"
    before = set(os.listdir(volumes))
    rl(
        "run",
        "--name",
        "c",
        "--network",
        "none",
        "-v",
        "/anonymous",
        "-v",
        "stays:/named",
        image,
        "touch",
        "/anonymous/x",
    )
    assert len(set(os.listdir(volumes)) - before) == 2
    rl("rm", "-v", "c")
    assert set(os.listdir(volumes)) - before == {"stays"}


@pytest.mark.parametrize("options", [(), ("-d",), ("-d", "--restart", "on-failure:1")], ids=" ".join)
def test_anonymous_volumes_go_with_a_container_that_removes_itself(
    rl: Rootless, image: str, options: tuple[str, ...]
) -> None:
    before = rl.out("volume", "ls", "-q")
    rl("run", "--rm", *options, "--network", "none", "-v", "/anonymous", image, "touch", "/anonymous/x")
    wait_until(lambda: rl.out("ps", "-aq") == "")
    assert rl.out("volume", "ls", "-q") == before


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "wait", "logs", "attach", "inspect", "restart"])
def test_unknown_containers_are_named(rl: Rootless, verb: str) -> None:
    done = rl(verb, "no-such-container", check=False)
    assert done.returncode in (1, 125)
    assert "no-such-container" in done.stderr
    assert "internal error" not in done.stderr


def test_every_driver_runs_stops_starts_and_removes(each_driver: Rootless, image: str) -> None:
    rl = each_driver
    rl("run", "--name", "c", "--network", "none", image, "sh", "-c", "echo kept > /f; chown alice /f")
    assert rl.out("start", "-a", "c") == ""
    detached(rl, image, "d")
    assert rl.out("exec", "d", "sh", "-c", "rm /etc/group && ls /etc | grep -c group || true") == "0"
    rl("rm", "-f", "-t", "0", "c", "d")


def test_a_container_keeps_the_driver_that_it_was_made_with(fresh: Rootless, busybox: Path, image: str) -> None:
    fresh("load", "-q", "-i", str(busybox))
    vfs = {"ROOTLESS_STORAGE_DRIVER": "vfs"}
    command = ("--network", "none", image, "sh", "-c", "test ! -e /kept || cat /kept; echo kept > /kept")
    fresh("run", "--name", "c", *command)
    assert fresh("start", "-a", "c", env=vfs).stdout == "kept\n"
    fresh("run", "--name", "d", *command, env=vfs)
    assert fresh("start", "-a", "d").stdout == "kept\n"
    fresh("rm", "c", "d")


@pytest.mark.parametrize("verb", ["create", "run"])
def test_what_cannot_be_made_whole_is_not_kept_at_all(rl: Rootless, image: str, verb: str) -> None:
    done = rl(verb, "--name", "c", "--cidfile", "/no/such/place/cid", "--network", "none", image, "true", check=False)
    assert done.returncode == 125
    assert "/no/such/place/cid" in done.stderr
    assert rl.out("ps", "-aq") == ""
    assert os.listdir(rl.root / "containers") == []


def test_a_start_that_fails_leaves_a_stopped_container_as_it_ended(rl: Rootless, image: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rl("run", "--name", "c", "-p", f"127.0.0.1:{port}:80", image, "sh", "-c", "exit 7", check=False)
    before = rl.inspect("c")["State"]
    assert (before["Status"], before["ExitCode"]) == ("exited", 7)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", port))
        busy.listen()
        for words in (("start", "c"), ("start", "-a", "c"), ("restart", "c")):
            done = rl(*words, check=False)
            assert done.returncode == 125
            assert "already in use" in done.stderr
            after = rl.inspect("c")["State"]
            assert "already in use" in after.pop("Error")
            assert after == {key: value for key, value in before.items() if key != "Error"}
    assert rl("start", "-a", "c", check=False).returncode == 7
    assert rl.inspect("c")["State"]["Error"] == ""


def test_names_are_printed_in_the_order_in_which_they_were_given(rl: Rootless, image: str) -> None:
    for name, trap in (("slow", "sleep 1"), ("quick", "exit"), ("gone", "exit")):
        detached(rl, image, name, "sh", "-c", f"trap '{trap}; exit' TERM; echo ready; while :; do sleep 0.1; done")
        wait_ready(rl, name)
    rl("rm", "-f", "-t", "0", "gone")
    done = rl("stop", "slow", "gone", "quick", check=False)
    assert done.stdout == "slow\nquick\n"
    assert done.returncode == 125
    assert rl("rm", "-f", "quick", "gone", "slow").stdout == "quick\nslow\n"


def test_a_busy_port_matters_when_the_container_starts(rl: Rootless, image: str) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        rl("create", "--name", "c", "-p", f"127.0.0.1:{port}:80", image, "true")
        done = rl("start", "-a", "c", check=False)
        assert done.returncode == 125
        assert port in done.stderr
        assert rl.status("c") == "created"
    assert rl("start", "-a", "c").returncode == 0
