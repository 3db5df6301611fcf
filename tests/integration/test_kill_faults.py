"""SIGKILL at any moment: afterwards `ps` tells the truth, `rm -f` works, names are free, nothing is left."""

from __future__ import annotations

import functools
import os
import resource
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.leaks import entries, processes_of

# The steps of rootless.faults, in the order in which a start meets them.
START_STEPS = (
    "written",
    "directory",
    "before-plan",
    "plan-sent",
    "initialized",
    "before-execute",
    "executed",
    "running",
)


def die_at(step: str) -> dict[str, str]:
    return {"ROOTLESS_TEST_DIE_AT": step}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def helper_of(monitor: int) -> int:
    """The pid of the slirp4netns that a monitor has started."""
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "slirp4netns\n")


@pytest.mark.parametrize("step", START_STEPS)
@pytest.mark.parametrize("removed", [True, False], ids=["rm", "kept"])
def test_run_killed_during_start(rl: Rootless, image: str, step: str, removed: bool) -> None:
    options = ("--rm",) if removed else ()
    done = rl("run", *options, "--name", "c", image, "sleep", "60", env=die_at(step), check=False)
    assert done.returncode == -signal.SIGKILL
    if removed:
        assert rl.out("ps", "-aq") == ""
    else:
        status = rl.status("c")
        assert status in ("created", "exited")
        assert status == "created" or rl.inspect("c")["State"]["ExitCode"] == 137
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
    rl("rm", "-f", "c", check=False)
    rl("run", "--rm", "--name", "c", "--network", "none", image, "true")


@pytest.mark.parametrize("command", ["run", "create"])
def test_a_name_is_free_once_its_holder_has_been_killed(rl: Rootless, image: str, command: str) -> None:
    rl("run", "--rm", "--name", "c", "--network", "none", image, "true", env=die_at("running"), check=False)
    rl(command, "--name", "c", "--network", "none", image, "true")
    done = rl(command, "--name", "c", "--network", "none", image, "true", check=False)
    assert '"c" is already in use' in done.stderr


@pytest.mark.parametrize("command", [("rmi", "other"), ("image", "prune", "--all", "--force")])
def test_an_image_is_free_once_its_container_has_been_killed(
    fresh: Rootless, busybox: Path, command: tuple[str, ...]
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    fresh("tag", "busybox", "other")
    fresh("rmi", "busybox")
    fresh("run", "--rm", "--network", "none", "other", "true", env=die_at("running"), check=False)
    fresh(*command)
    assert fresh.out("images", "-q") == ""


@pytest.mark.parametrize("step", ["written", "initialized", "running", "reported"])
def test_detached_monitor_killed_during_start(rl: Rootless, image: str, step: str) -> None:
    done = rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60", env=die_at(step), check=False)
    if step == "reported":
        assert done.returncode == 0
    else:
        assert done.returncode == 125
        assert "killed" in done.stderr
    wait_until(lambda: rl.status("c") in ("created", "exited"))
    rl("rm", "-f", "c")


@pytest.mark.parametrize("step", ["init-apart", "init-told", "init-mounted", "init-prepared", "init-executing"])
@pytest.mark.parametrize(
    "options", [(), ("-d",), ("--network", "slirp4netns")], ids=["none", "detached", "slirp4netns"]
)
def test_pid_1_killed_before_it_is_the_containers(
    rl: Rootless, image: str, step: str, options: tuple[str, ...]
) -> None:
    done = rl("run", "--name", "c", "--network", "none", *options, image, "sleep", "60", env=die_at(step), check=False)
    if step == "init-executing":  # for all that can be seen, the program ran
        assert rl.out("wait", "c") == "137"
    else:
        assert done.returncode == 125
        first = "starting slirp4netns" in done.stderr  # to notice
        said = "starting slirp4netns" if first else "its first process"
        assert said in done.stderr
        assert said in rl.inspect("c")["State"]["Error"]
        assert rl.status("c") == "created"
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
    rl("rm", "c")


@pytest.mark.parametrize("step", ["door-inside", "exec-inside"])
@pytest.mark.parametrize("options", [(), ("-d",)], ids=["foreground", "detached"])
def test_exec_killed_on_its_way_in(rl: Rootless, image: str, step: str, options: tuple[str, ...]) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    done = rl("exec", *options, "c", "sleep", "60", env=die_at(step), check=False)
    assert done.returncode == (125 if step == "door-inside" else 0 if options else 137)
    assert rl.out("exec", "c", "echo", "here") == "here"
    assert rl.out("exec", "c", "ps").count("sleep") == 1
    rl("rm", "-f", "-t", "0", "c")


@pytest.mark.parametrize("step", ["stopping", "stop-sent"])
@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_stop_killed(rl: Rootless, image: str, step: str, verb: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    done = rl(verb, "-t", "60", "c", env=die_at(step), check=False)
    assert done.returncode == -signal.SIGKILL
    assert rl.status("c") == "running"
    assert rl.out("exec", "c", "echo", "here") == "here", "nobody has ended it"
    rl("stop", "-t", "0", "c")
    assert (rl.status("c"), rl.inspect("c")["State"]["ExitCode"]) == ("exited", 137)
    assert rl.out("start", "c") == "c"
    assert rl.status("c") == "running"
    rl("rm", "-f", "-t", "0", "c")


def test_a_container_is_stopping_as_long_as_anybody_stops_it(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    first, second = (rl.popen("stop", "-t", "60", "c") for _ in range(2))
    try:
        wait_until(lambda: len(stoppers(rl)) == 2)
        first.kill()
        first.wait()
        assert rl.status("c") == "stopping"
    finally:
        second.terminate()
        second.wait()
    assert rl.status("c") == "running"
    rl("pause", "c")
    rl("rm", "-f", "c")


def stoppers(rl: Rootless) -> list[str]:
    """The processes that have said that they stop the container: who has its file `stopping` open."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if any(link.startswith(f"{rl.runroot}/") and link.endswith("/stopping") for link in links):
            found.append(pid)
    return found


@pytest.mark.parametrize("step", ["before-plan", "initialized", "before-execute", "executed", "running", "reported"])
def test_restart_killed_while_it_starts(rl: Rootless, image: str, step: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    rl("restart", "-t", "0", "c", env=die_at(step), check=False)
    wait_until(lambda: rl.status("c") == "exited")
    wait_until(lambda: not processes_of(rl.place), what="the end of all processes")
    rl("rm", "c")


@pytest.mark.parametrize("step", ["initialized", "running"])
def test_start_killed(rl: Rootless, image: str, step: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "echo", "ran")
    rl("start", "-a", "c", env=die_at(step), check=False)
    assert rl.status("c") in ("created", "exited")
    assert rl("start", "-a", "c").stdout == "ran\n"


@pytest.mark.parametrize("step", ["create-settled", "create-written"])
def test_create_killed(rl: Rootless, image: str, step: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true", env=die_at(step), check=False)
    if step == "create-written":
        assert rl.status("c") == "created"
        done = rl("start", "c", check=False)
        assert done.returncode == 125
        assert "half made" in done.stderr
    else:
        assert rl.out("ps", "-aq") == ""
    rl("rm", "-f", "c", check=False)
    rl("create", "--name", "c", "--network", "none", image, "true")


@pytest.mark.parametrize("step", ["ended", "recorded", "remove-run-directory", "remove-files"])
@pytest.mark.parametrize("removed", [True, False], ids=["rm", "kept"])
def test_monitor_killed_while_it_cleans_up(rl: Rootless, image: str, step: str, removed: bool) -> None:
    options = ("--rm",) if removed else ()
    rl("run", *options, "--name", "c", "--network", "none", image, "true", env=die_at(step), check=False)
    if removed:
        assert rl.out("ps", "-aq") == ""
    else:
        assert rl.status("c") == "exited"
    rl("rm", "-f", "c", check=False)
    rl("run", "--rm", "--name", "c", "--network", "none", image, "true")


@pytest.mark.parametrize("step", ["removing", "remove-run-directory", "remove-files"])
def test_rm_killed(rl: Rootless, image: str, step: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    rl("rm", "c", env=die_at(step), check=False)
    assert rl.out("ps", "-aq") == "", "the next command completes the removal"
    rl("create", "--name", "c", "--network", "none", image, "true")


@pytest.mark.parametrize("step", ["removing", "remove-files"])
def test_rm_killed_that_was_to_take_the_volumes_too(rl: Rootless, image: str, step: str) -> None:
    others = set(entries(rl.root / "volumes"))
    rl("run", "--name", "c", "--network", "none", "-v", "/data", image, "true")
    assert len(set(entries(rl.root / "volumes")) - others) == 1
    rl("rm", "-v", "c", env=die_at(step), check=False)
    assert rl.out("ps", "-aq") == "", "the next command completes the removal"
    assert set(entries(rl.root / "volumes")) == others


def test_an_end_is_recorded_together_with_the_end_of_its_directory(rl: Rootless, image: str) -> None:
    # Otherwise a start in between would lose the directory that it has just made.
    rl("run", "--name", "c", "--network", "none", image, "true", env=die_at("recorded"), check=False)
    assert list((rl.runroot / "containers").iterdir()) == []


@pytest.mark.parametrize("network", ["none", "slirp4netns"])
def test_monitor_killed_while_the_container_runs(rl: Rootless, image: str, network: str) -> None:
    rl("run", "-d", "--name", "c", "--network", network, image, "sleep", "60")
    state = rl.inspect("c")["State"]
    helper = None if network == "none" else helper_of(state["ConmonPid"])
    os.kill(state["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: not alive(state["Pid"]), 10, "the end of the container")
    after = rl.inspect("c")["State"]
    assert (after["Status"], after["ExitCode"], after["Pid"]) == ("exited", 137, 0)
    assert "monitor" in after["Error"]
    wait_until(lambda: helper is None or not alive(helper), what="the end of slirp4netns")
    assert rl.out("start", "c") == "c"
    rl("rm", "-f", "-t", "0", "c")


def test_foreground_command_killed(rl: Rootless, image: str) -> None:
    process = rl.popen("run", "--rm", "--name", "c", image, "sh", "-c", "echo up; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    pid = rl.inspect("c")["State"]["Pid"]
    process.kill()
    wait_until(lambda: not alive(pid), 10, "the end of the container")
    assert rl.out("ps", "-aq") == "", "not yet reaped by its parent, and still known to be dead"
    process.communicate()


def test_orphan_without_parent_death_signal_is_ended_by_the_next_command(rl: Rootless, image: str) -> None:
    # `su` changes credentials, so the kernel forgets pid 1's parent-death signal.
    rl("run", "-d", "--name", "c", "--network", "none", image, "su", "alice", "-c", "exec sleep 60")
    state = rl.inspect("c")["State"]
    wait_until(lambda: b"sleep" in Path(f"/proc/{state['Pid']}/cmdline").read_bytes())
    os.kill(state["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: not alive(state["ConmonPid"]))
    assert rl.status("c") == "exited"
    assert not alive(state["Pid"])


def test_container_killed_from_outside(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    os.kill(rl.inspect("c")["State"]["Pid"], signal.SIGKILL)
    assert rl.out("wait", "c") == "137"


def test_network_helper_killed_is_told_and_the_container_lives(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", image, "sleep", "60")
    os.kill(helper_of(rl.inspect("c")["State"]["ConmonPid"]), signal.SIGKILL)
    wait_until(lambda: "slirp4netns" in rl.inspect("c")["State"]["Error"])
    assert rl.status("c") == "running"
    rl("stop", "-t", "0", "c")


def test_stopped_monitor_does_not_hold_up_rm(rl: Rootless, image: str) -> None:
    process = rl.popen("run", "--name", "c", "--network", "none", image, "sh", "-c", "echo up; sleep 60")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    rl("rm", "-f", "-t", "0", "c", timeout=40)
    assert time.monotonic() - started < 30
    process.kill()
    process.communicate()


def test_a_process_that_has_taken_the_pid_is_never_touched(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    rl("kill", "c")
    with sqlite3.connect(rl.root / "db.sqlite") as database:  # as if it had died unrecorded, and our pid been reused
        database.execute(
            "UPDATE containers SET state = 'running', pid = ?, pid_start = 1, monitor_pid = ?, monitor_start = 1"
            " WHERE name = 'c'",
            (os.getpid(), os.getpid()),
        )
    database.close()
    assert rl.status("c") == "exited"


def test_after_a_reboot_nothing_runs(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    with sqlite3.connect(rl.root / "db.sqlite") as database:
        database.execute(
            "UPDATE containers SET state = 'running', pid = 1, pid_start = 1, monitor_pid = 1, monitor_start = 1,"
            " boot_id = 'another' WHERE name = 'c'"
        )
    database.close()
    state = rl.inspect("c")["State"]
    assert (state["Status"], state["Running"]) == ("exited", False)
    assert "restarted" in state["Error"]


def test_what_is_told_is_why_it_did_not_start_even_if_that_cannot_be_recorded(fresh: Rootless, busybox: Path) -> None:
    fresh("load", "-q", "-i", str(busybox))
    container_id = fresh.out("create", "--name", "c", "--network", "none", "busybox", "true")
    (fresh.root / "containers" / container_id / "config.json").unlink()
    log = fresh.root / "db.sqlite-wal"
    database = sqlite3.connect(fresh.root / "db.sqlite")
    claims = []
    for room in range(0, 16_000, 2_000):  # for the database's log: with some, only the claim can be written
        fresh.inspect("c")  # forgets the one before
        limit = log.stat().st_size + room
        limited = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
        done = fresh("start", "c", check=False, preexec_fn=limited)
        assert done.returncode == 125
        if database.execute("SELECT monitor_pid FROM containers").fetchone() != (0,):
            claims.append(done.stderr)
    database.close()
    assert claims
    assert all("half made" in said for said in claims), claims
