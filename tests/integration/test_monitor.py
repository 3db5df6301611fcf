"""The monitor under pressure: signals at the end, no descriptors left, helpers that die, parents that are gone."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rootless.engine import again
from rootless.engine.handover import fork_monitor
from rootless.engine.monitor import finish, interpreter
from rootless.errors import RootlessError
from rootless.kernel.pidfd import open_pidfd
from tests.support.command import Rootless, wait_until


def child_of(parent: int, words: bytes) -> int:
    """The child whose command line has `words` in it."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next(int(pid) for pid in children if words in Path(f"/proc/{pid}/cmdline").read_bytes())


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_ports_are_free_when_stop_returns_even_if_their_server_does_not_answer(rl: Rootless, image: str) -> None:
    port = free_port()
    rl("run", "-d", "--name", "c", "-p", f"127.0.0.1:{port}:80", image, "sleep", "60")
    forwarder = child_of(rl.inspect("c")["State"]["ConmonPid"], b"network.forwarder")
    os.kill(forwarder, signal.SIGSTOP)
    rl("stop", "-t", "0", "c")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_the_death_of_the_port_forwarder_is_told(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "-p", f"127.0.0.1:{free_port()}:80", image, "sleep", "60")
    os.kill(child_of(rl.inspect("c")["State"]["ConmonPid"], b"network.forwarder"), signal.SIGKILL)
    wait_until(lambda: "the port forwarder has ended" in rl.inspect("c")["State"]["Error"])
    assert rl.status("c") == "running"
    rl("stop", "-t", "0", "c")


def test_signals_while_the_container_ends_do_not_change_the_exit_code(rl: Rootless, image: str) -> None:
    script = "trap : TERM; echo up; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7"
    for _ in range(5):
        process = rl.popen("run", "--rm", "--network", "none", image, "sh", "-c", script)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.0002)
        _, said = process.communicate()
        assert (process.returncode, said) == (7, b"")


def test_a_signal_that_is_not_passed_on_ends_the_container_in_good_order(rl: Rootless, image: str) -> None:
    script = "trap : TERM; echo up; while :; do sleep 0.1; done"
    process = rl.popen("run", "--name", "c", "--network", "none", "--sig-proxy=false", image, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    assert process.wait(10) == 137
    process.communicate()
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 137, "")


def test_more_clients_than_descriptors_do_not_keep_the_monitor_busy(rl: Rootless, image: str) -> None:
    container_id = rl.out("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    monitor = rl.inspect("c")["State"]["ConmonPid"]
    used = len(os.listdir(f"/proc/{monitor}/fd"))
    before = resource.prlimit(monitor, resource.RLIMIT_NOFILE)
    resource.prlimit(monitor, resource.RLIMIT_NOFILE, (used + 4, before[1]))
    place = os.open(rl.runroot / "containers" / container_id, os.O_PATH)
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(8)]
    for client in clients:
        client.connect(f"/proc/self/fd/{place}/attach.sock")
    os.close(place)
    time.sleep(0.2)
    spent = processor_time(monitor)
    time.sleep(0.5)
    assert processor_time(monitor) - spent < 0.1
    resource.prlimit(monitor, resource.RLIMIT_NOFILE, before)
    rl("stop", "-t", "0", "c")
    for client in clients:
        assert client.recv(100) == b"E137", "also those that came when there was no room"
        client.close()


def watched(seconds: float, client: int) -> dict[str, Any]:
    """What a monitor knows of a child of ours that ends with 7."""
    child = subprocess.Popen(["sh", "-c", f"sleep {seconds}; exit 7"], stdin=subprocess.DEVNULL)
    nothing = dict.fromkeys(("userns_fd", "output", "error", "input", "log", "server", "held", "rootfs"), -1)
    state = {**nothing, "pid": child.pid, "pidfd": open_pidfd(child.pid), "tty": False, "local_input": False}
    child.returncode = 0  # the monitor's to wait for
    return {**state, "helper": None, "clients": [client], "id": "x", "root": ""}


def test_a_monitor_goes_on_where_no_other_interpreter_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = theirs.detach()
    assert fork_monitor(lambda: (watched(0.2, fd), "value"), [fd]) == "value"
    ours.settimeout(10)
    assert ours.recv(100) == b"E7"
    ours.close()
    os.wait()


def test_a_monitor_that_stays_as_it_is_obeys_a_restart_policy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(state: dict[str, Any], code: int) -> None:
        state["pause"] = 0.5

    def live_on(state: dict[str, Any], code: int) -> None:
        os._exit(70 + code if state["pause"] == 0.5 else 1)

    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    monkeypatch.setattr(finish, "finish", end)
    monkeypatch.setattr(again, "live_on", live_on)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = theirs.detach()
    fork_monitor(lambda: (watched(0.2, fd), None), [fd])
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 77
    ours.close()


def test_ctrl_c_while_a_container_is_started_is_told_by_the_exit_code_alone(capfd: pytest.CaptureFixture[str]) -> None:
    def launch() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(RootlessError, match="its monitor was killed"):
        fork_monitor(launch, [])
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 130
    assert capfd.readouterr() == ("", "")


def test_the_lean_interpreter_gets_the_descriptors_that_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    result, report = os.pipe()
    mine, other = os.pipe()

    def execute(program: str, words: list[str]) -> None:
        passed = [fd for fd in range(3, 256) if Path(f"/proc/self/fd/{fd}").exists() and os.get_inheritable(fd)]
        os.write(report, json.dumps([passed, int(words[4])]).encode())
        os._exit(0)

    monkeypatch.setattr(os, "execv", execute)
    if (child := os.fork()) == 0:
        os.set_inheritable(other, True)  # as what a caller has left open
        interpreter.execute({"root": "/r", "id": "x"}, {mine, -1})
    os.waitpid(child, 0)
    passed, memory = json.loads(os.read(result, 4096))
    assert sorted(passed) == sorted([mine, memory])
    for fd in (result, report, mine, other):
        os.close(fd)


def test_a_monitor_goes_on_where_the_command_has_been_killed_meanwhile() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = theirs.fileno()

    def launch() -> tuple[dict[str, Any], None]:
        time.sleep(0.3)
        return watched(0.2, fd), None

    command = os.fork()
    if command == 0:
        fork_monitor(launch, [fd])
        os._exit(0)
    theirs.close()
    time.sleep(0.1)
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)
    ours.settimeout(10)
    assert ours.recv(100) == b"E7"
    ours.close()
