"""A store that is used from several pid namespaces: what cannot be seen is not taken for dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable, wait_until


def elsewhere(rl: Rootless, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command where our processes have other numbers, as in a toolbox or a development container."""
    line = ["unshare", "-r", "-p", "-f", "--mount-proc", executable(), *args]
    done = subprocess.run(line, env=rl.environment, capture_output=True, text=True, timeout=60)
    if "unshare:" in done.stderr:
        pytest.skip(f"no other pid namespace here: {done.stderr}")
    return done


def file_of(rl: Rootless, container_id: str) -> Path:
    return rl.root / "containers" / container_id / "config.json"


@pytest.mark.parametrize("options", [(), ("--rm",)], ids=["kept", "rm"])
def test_a_container_of_another_pid_namespace_is_left_alone(rl: Rootless, image: str, options: tuple[str, ...]) -> None:
    container_id = rl.out("run", "-d", *options, "--name", "c", "--network", "none", image, "sleep", "600")
    done = elsewhere(rl, "ps", "-a", "--format", "{{.Names}} {{.State}}")
    assert (done.stdout, done.stderr) == ("c running\n", "")
    for command in (["stop", "c"], ["kill", "c"], ["rm", "-f", "c"], ["exec", "c", "true"]):
        done = elsewhere(rl, *command)
        assert done.returncode == 125
        assert "it was started in another pid namespace of this machine" in done.stderr
    assert rl.status("c") == "running"
    assert file_of(rl, container_id).exists()
    assert rl.out("exec", "c", "echo", "fine") == "fine"
    rl("stop", "-t", "0", "c")
    assert rl.out("ps", "-aq", "--no-trunc") == ("" if options else container_id)


def test_one_in_the_foreground_and_one_that_was_started_again_are_left_alone(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "sleep", "600")
    rl("start", "c")
    process = rl.popen("run", "--rm", "--name", "d", "--network", "none", image, "sh", "-c", "echo up; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    done = elsewhere(rl, "ps", "--format", "{{.Names}} {{.State}}")
    assert done.stdout == "c running\nd running\n"
    rl("rm", "-f", "-t", "0", "c", "d")
    process.communicate(timeout=10)


def test_one_that_waits_to_be_started_again_is_left_alone(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", "--restart", "always", image, "sh", "-c", "exit 3")

    def waits() -> bool:
        seen = rl.inspect("c")
        return bool(seen["State"]["Status"] == "restarting" and seen["RestartCount"] >= 5)

    wait_until(waits, what="a pause of three seconds")
    done = elsewhere(rl, "ps", "--format", "{{.Names}} {{.State}}")
    assert done.stdout == "c restarting\n"
    assert elsewhere(rl, "rm", "c").returncode == 2
    assert rl.status("c") == "restarting"
    rl("rm", "-f", "c")


def test_a_container_whose_monitor_has_died_is_mended_from_anywhere(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "600")
    state = rl.inspect("c")["State"]
    os.kill(state["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{state['Pid']}").exists())
    done = elsewhere(rl, "ps", "-a", "--format", "{{.Names}} {{.State}}")
    assert done.stdout == "c exited\n"
    done = elsewhere(rl, "rm", "c")
    assert done.returncode == 0, done.stderr


def test_one_that_runs_on_another_machine_is_left_alone(rl: Rootless, image: str) -> None:
    import sqlite3

    container_id = rl.out("run", "-d", "--name", "c", "--network", "none", image, "sleep", "600")
    with sqlite3.connect(rl.root / "db.sqlite") as database:  # as another machine's database shows it
        (ours,) = database.execute("SELECT boot_id FROM containers").fetchone()
        database.execute("UPDATE containers SET boot_id = 'another/1/1'")
    assert rl.status("c") == "running"
    done = rl("stop", "c", check=False)
    assert done.returncode == 125
    assert "it was started on another machine" in done.stderr
    assert file_of(rl, container_id).exists()
    with database:
        database.execute("UPDATE containers SET boot_id = ?", (ours,))
    database.close()
    rl("stop", "-t", "0", "c")


_SUBREAPER = """
import ctypes, os, signal, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER; and it reaps nothing but what it has started itself
rootless = sys.argv[1]
subprocess.run([rootless, "run", "-d", "--name", "c", "--network", "none", sys.argv[2], "sleep", "600"], check=True)
if sys.argv[3] == "detached":
    subprocess.run([rootless, "exec", "-d", "c", "sleep", "600"], check=True, stdout=subprocess.DEVNULL)
else:
    command = subprocess.Popen([rootless, "exec", "c", "sh", "-c", "echo up; sleep 600"], stdout=subprocess.PIPE)
    command.stdout.readline()
    command.kill()
    command.wait()
done = subprocess.run([rootless, "stop", "-t", "0", "c"], capture_output=True, text=True, timeout=40)
print(done.returncode, done.stderr)
"""


@pytest.mark.parametrize("way", ["detached", "killed"])
def test_stop_comes_to_an_end_where_nobody_reaps(rl: Rootless, image: str, way: str) -> None:
    line = [sys.executable, "-c", _SUBREAPER, executable(), image, way]
    done = subprocess.run(line, env=rl.environment, capture_output=True, text=True, timeout=60)
    code, _, said = done.stdout.partition("\n")[2].partition(" ")
    if way == "detached":
        assert (code, said.strip()) == ("0", "")
    else:
        assert code == "125", done.stdout + done.stderr
        assert "does not reap what it has inherited" in said
    wait_until(lambda: rl.status("c") == "exited")
