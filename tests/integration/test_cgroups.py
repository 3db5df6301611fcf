"""Containers with a control group of their own, in one that is delegated to us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.kernel.cgroups import LEAF, mounted
from tests.support.cgroups import Grouped, group_of_ours
from tests.support.command import Rootless, wait_until
from tests.support.leaks import assert_nothing_left

NONE = ("--network", "none")


@pytest.fixture
def grouped(shared_store: Rootless) -> Iterator[Grouped]:
    """The command on the shared store, run in a control group that is ours; no group may be left in that."""
    with group_of_ours() as group:
        command = Grouped(shared_store.place, group)
        yield command
        command("rm", "-f", "-a", "-t", "0", check=False)
        assert_nothing_left(command.place, command.root, command.runroot)
        wait_until(lambda: set(command.groups()) <= {LEAF}, 3, "the removal of the containers' groups")
        if command.groups():
            (group / LEAF).rmdir()


def test_a_container_has_a_group_that_is_the_root_of_what_it_sees(grouped: Grouped, image: str) -> None:
    identity = grouped.out("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    (name,) = grouped.groups()
    assert name.startswith(f"rootless-{identity}.")
    inspected = grouped.inspect("c")
    assert inspected["State"]["CgroupPath"].endswith(f"/{grouped.group.name}/{name}")
    assert (inspected["HostConfig"]["CgroupManager"], inspected["HostConfig"]["Cgroups"]) == ("cgroupfs", "default")
    assert grouped.out("exec", "c", "grep", "^0:", "/proc/self/cgroup") == "0::/"
    assert "populated 1" in grouped.out("exec", "c", "cat", "/sys/fs/cgroup/cgroup.events")
    pids = (grouped.group_of("c") / "cgroup.procs").read_text().split()
    assert pids == [str(inspected["State"]["Pid"])]
    grouped("stop", "-t", "0", "c")
    assert grouped.groups() == []
    grouped("start", "c")
    assert len(grouped.groups()) == 1


def test_what_exec_runs_is_in_the_group_too(grouped: Grouped, image: str) -> None:
    grouped("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    grouped("exec", "-d", "c", "sleep", "99")
    members = grouped.group_of("c") / "cgroup.procs"
    wait_until(lambda: len(members.read_text().split()) == 2)


def test_an_attached_and_a_removed_one_leave_no_group(grouped: Grouped, image: str) -> None:
    assert grouped.out("run", "--rm", *NONE, image, "echo", "x") == "x"
    assert grouped.groups() == []
    assert grouped("run", "--rm", *NONE, image, "/no/such/program", check=False).returncode == 127
    assert grouped.groups() == []


def test_without_cgroups_there_is_none(grouped: Grouped, image: str) -> None:
    grouped("run", "-d", "--name", "c", "--cgroups", "disabled", *NONE, image, "sleep", "100")
    assert grouped.groups() == []
    assert grouped.inspect("c")["HostConfig"]["Cgroups"] == "disabled"
    assert grouped.inspect("c")["State"]["CgroupPath"] == ""


def test_split_needs_delegation(rl: Rootless, grouped: Grouped, image: str) -> None:
    assert grouped.out("run", "--rm", "--cgroups", "split", *NONE, image, "echo", "x") == "x"
    done = rl("run", "--rm", "--cgroups", "split", *NONE, image, "true", check=False)
    assert done.returncode == 125
    assert "rootless doctor" in done.stderr


def test_pausing_freezes_without_signals(grouped: Grouped, image: str) -> None:
    script = "trap 'echo woken' CONT; while :; do sleep 0.05; done"
    grouped("run", "-d", "--name", "c", *NONE, image, "sh", "-c", script)
    grouped("pause", "c")
    events = grouped.group_of("c") / "cgroup.events"
    assert "frozen 1" in events.read_text()
    assert grouped.status("c") == "paused"
    pid = grouped.inspect("c")["State"]["Pid"]
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"
    grouped("unpause", "c")
    assert "frozen 0" in events.read_text()
    grouped("stop", "-t", "0", "c")
    assert grouped.out("logs", "c") == ""


def test_what_is_in_the_container_and_not_in_its_group_is_stopped(grouped: Grouped, image: str) -> None:
    grouped("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    grouped("exec", "-d", "c", "sleep", "98")
    procs = grouped.group_of("c") / "cgroup.procs"
    wait_until(lambda: len(procs.read_text().split()) == 2)
    (other,) = set(procs.read_text().split()) - {str(grouped.inspect("c")["State"]["Pid"])}
    (grouped.group / "cgroup.procs").write_text(other)
    grouped("pause", "c")
    assert Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    grouped("unpause", "c")
    wait_until(lambda: Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[0] == "S")


def test_a_frozen_container_can_be_killed(grouped: Grouped, image: str) -> None:
    grouped("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    grouped("pause", "c")
    grouped("kill", "c")
    assert grouped.status("c") == "exited"
    assert grouped.groups() == []


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_the_group_goes_when_the_monitor_was_killed(grouped: Grouped, image: str, paused: bool) -> None:
    grouped("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    grouped("exec", "-d", "c", "sleep", "97")
    if paused:
        grouped("pause", "c")
    os.kill(grouped.inspect("c")["State"]["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: grouped.status("c") == "exited")
    assert grouped.groups() == []


def test_a_start_that_was_killed_leaves_no_group_for_long(grouped: Grouped, image: str) -> None:
    dead = {"ROOTLESS_TEST_DIE_AT": "cgroup-made"}
    assert grouped("run", "--name", "lost", *NONE, image, "true", check=False, env=dead).returncode == -signal.SIGKILL
    assert len(grouped.groups()) == 1
    grouped("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    os.kill(grouped.inspect("c")["State"]["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: grouped.status("c") == "exited")
    assert grouped.groups() == []


def test_what_froze_on_its_way_in_ends_with_the_container(grouped: Grouped, image: str) -> None:
    grouped("run", "-d", "--name", "c", *NONE, image, "sleep", "100")
    group = grouped.group_of("c")
    (group / "cgroup.freeze").write_text("1")  # as a pause does that overtakes the command
    command = grouped.popen("exec", "c", "true", stderr=subprocess.PIPE)
    wait_until(lambda: len((group / "cgroup.procs").read_text().split()) == 2)
    grouped("rm", "-f", "-t", "0", "c")
    _, told = command.communicate(timeout=10)
    assert command.returncode == 125, told
    assert grouped.groups() == []


def test_groups_whose_paths_are_too_long_go_with_the_container(grouped: Grouped, image: str) -> None:
    name = "x" * 200
    script = f"cd /sys/fs/cgroup; while mkdir {name} && cd {name}; do :; done; echo deep; exec sleep 100"
    grouped("run", "-d", "--name", "c", "--privileged", *NONE, image, "sh", "-c", script)
    wait_until(lambda: "deep" in grouped.out("logs", "c"))
    (grouped.group_of("c") / "beside").mkdir()
    grouped("pause", "c")
    grouped("unpause", "c")
    grouped("stop", "-t", "0", "c")
    assert grouped.groups() == []


def test_stats_come_from_the_group(grouped: Grouped, image: str) -> None:
    # What has ended counts too, and what nobody has waited for.
    script = "(sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done') & exec sleep 100"
    grouped("run", "-d", "--name", "c", *NONE, image, "sh", "-c", script)
    group = grouped.group_of("c")
    wait_until(lambda: len((group / "cgroup.procs").read_text().split()) == 1, 30)
    (found,) = json.loads(grouped.out("stats", "--no-stream", "--format", "json", "c"))
    lines = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    unit = 1000.0 if found["cpu_time"].endswith("ms") else 1.0
    assert float(found["cpu_time"].removesuffix("ms").removesuffix("s")) / unit == pytest.approx(
        int(lines["usage_usec"]) / 1e6, abs=0.2
    )
    for key in ("cpu_pressure", "mem_pressure", "io_pressure"):
        assert found[key].startswith("some ")
    told = grouped.out("stats", "--no-stream", "--format", "{{.CPUPressure}}|{{.MemPressure}}|{{.IOPressure}}", "c")
    assert told.count("full ") == 3


def test_pressure_shows_who_waits(grouped: Grouped, image: str) -> None:
    busy = "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait"
    grouped("run", "-d", "--name", "c", *NONE, image, "sh", "-c", busy)

    def some() -> float:
        (found,) = json.loads(grouped.out("stats", "--no-stream", "--format", "json", "c"))
        return float(found["cpu_pressure"].split()[1].removesuffix("%"))

    wait_until(lambda: some() > 5, 30, "pressure on the processor")


def test_restarting_makes_a_group_each_time(grouped: Grouped, image: str) -> None:
    grouped("run", "-d", "--name", "c", "--restart", "always", *NONE, image, "sleep", "0.2")
    wait_until(lambda: grouped.inspect("c")["RestartCount"] > 1)
    assert len(grouped.groups()) <= 1
    grouped("stop", "-t", "0", "c")
    assert grouped.groups() == []


def test_health_checks_run_in_the_group(grouped: Grouped, image: str) -> None:
    check = ("--health-cmd", "grep -qx 0::/ /proc/self/cgroup", "--health-interval", "200ms", "--health-retries", "1")
    grouped("run", "-d", "--name", "c", *check, *NONE, image, "sleep", "100")
    wait_until(lambda: grouped.inspect("c")["State"]["Health"]["Status"] != "starting")
    assert grouped.inspect("c")["State"]["Health"]["Status"] == "healthy"


def test_a_limit_whose_controller_is_not_there_is_refused(grouped: Grouped, image: str) -> None:
    if "memory" in (grouped.group / "cgroup.controllers").read_text().split():
        pytest.skip("the memory controller is delegated here")
    done = grouped("run", "--name", "c", "--memory", "64m", *NONE, image, "true", check=False)
    assert done.returncode == 125
    assert "not delegated to us: memory" in done.stderr
    assert grouped.out("ps", "-aq") == ""
    assert grouped.groups() == []


def test_a_parent_of_ours(grouped: Grouped, image: str) -> None:
    with group_of_ours() as other:
        mount = mounted()
        assert mount is not None
        parent = str(other).removeprefix(mount[0])
        grouped("run", "-d", "--name", "c", "--cgroup-parent", parent, *NONE, image, "sleep", "100")
        (made,) = [entry.name for entry in other.iterdir() if entry.is_dir()]
        assert made.startswith("rootless-")
        assert grouped.inspect("c")["HostConfig"]["CgroupParent"] == parent
        assert grouped.inspect("c")["State"]["CgroupPath"] == f"{parent}/{made}"
        grouped("rm", "-f", "-t", "0", "c")
        assert not [entry for entry in other.iterdir() if entry.is_dir()]


def test_groups_that_a_container_makes_in_its_own_go_with_it(grouped: Grouped, image: str) -> None:
    script = "mkdir -p /sys/fs/cgroup/a.b/c && echo 1 > /sys/fs/cgroup/a.b/c/cgroup.procs && exec sleep 100"
    grouped("run", "-d", "--name", "c", "--privileged", *NONE, image, "sh", "-c", script)
    below = f"{grouped.group}/{grouped.groups()[0]}/a.b/c/cgroup.procs"
    wait_until(lambda: os.path.exists(below) and Path(below).read_text() != "")
    grouped("pause", "c")
    grouped("unpause", "c")
    grouped("rm", "-f", "-t", "0", "c")
    assert grouped.groups() == []


def test_limits_of_one_that_runs_without_a_group_cannot_be_changed(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--cgroups", "disabled", *NONE, image, "sleep", "100")
    done = rl("update", "--pids-limit", "50", "c", check=False)
    assert done.returncode == 125
    assert "started without a control group" in done.stderr
    assert rl.inspect("c")["HostConfig"]["PidsLimit"] == 0
