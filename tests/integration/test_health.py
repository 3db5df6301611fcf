"""Health checks of real containers: by their monitors, on demand, and what follows of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.leaks import processes_of

SOON = ("--health-interval", "100ms")


def start(rl: Rootless, image: str, *options: str, name: str = "c") -> None:
    rl("run", "-d", "--name", name, "--network", "none", "--stop-timeout", "0", *options, image, "sleep", "1000")


def health(rl: Rootless, name: str = "c") -> dict[str, Any]:
    found: dict[str, Any] = rl.inspect(name)["State"]["Health"]
    return found


def has_status(rl: Rootless, status: str, name: str = "c") -> None:
    wait_until(lambda: health(rl, name)["Status"] == status, what=status)


def inside(rl: Rootless, name: str = "c") -> int:
    """How many processes the container has."""
    return len(rl.out("exec", name, "sh", "-c", "ls -d /proc/[0-9]*").split())


def test_a_monitor_checks_and_the_log_tells(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "echo said; echo so >&2; test -e /ok", "--health-retries", "2")
    has_status(rl, "unhealthy")
    rl("exec", "c", "touch", "/ok")
    has_status(rl, "healthy")
    state = rl.inspect("c")["State"]
    found = state["Health"]
    assert found == state["Healthcheck"]
    assert found["FailingStreak"] == 0
    last = found["Log"][-1]
    assert (last["ExitCode"], last["Output"]) == (0, "said\nso\n")
    assert last["Start"] < last["End"]
    wait_until(lambda: health(rl)["Log"][0]["Start"] > last["Start"], what="a log that has passed on")
    assert len(health(rl)["Log"]) == 5
    assert "(healthy)" in rl.out("ps", "--format", "{{.Status}}")


def test_the_first_check_comes_at_once_and_starting_is_what_it_is_until_then(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "true", "--health-interval", "1h")
    has_status(rl, "healthy")
    start(rl, image, "--health-cmd", "true", "--health-interval", "disable", name="d")
    assert health(rl, "d") == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert "(starting)" in rl.out("ps", "--latest", "--format", "{{.Status}}")


def test_failures_count_after_the_start_period(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "test -e /ok", "--health-retries", "1", "--health-start-period", "1h")
    wait_until(lambda: len(health(rl)["Log"]) >= 3)
    assert (health(rl)["Status"], health(rl)["FailingStreak"]) == ("starting", 0)
    rl("exec", "c", "touch", "/ok")
    has_status(rl, "healthy")
    rl("exec", "c", "rm", "/ok")
    has_status(rl, "unhealthy")


def test_healthcheck_run(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "test -e /ok", "--health-interval", "disable", "--health-retries", "2")
    failed = rl("healthcheck", "run", "c", check=False)
    assert (failed.returncode, failed.stdout) == (1, "unhealthy\n")
    assert (health(rl)["Status"], health(rl)["FailingStreak"]) == ("starting", 1)
    rl("healthcheck", "run", "c", check=False)
    assert (health(rl)["Status"], health(rl)["FailingStreak"]) == ("unhealthy", 2)
    rl("exec", "c", "touch", "/ok")
    passed = rl("healthcheck", "run", "c")
    assert passed.stdout == ""
    assert health(rl)["Status"] == "healthy"


def test_healthcheck_run_of_what_cannot_be_checked(rl: Rootless, image: str) -> None:
    start(rl, image)
    none = rl("healthcheck", "run", "c", check=False)
    assert (none.returncode, "it has no health check" in none.stderr) == (125, True)
    rl("create", "--name", "d", "--health-cmd", "true", image)
    stopped = rl("healthcheck", "run", "d", check=False)
    assert (stopped.returncode, "not running" in stopped.stderr) == (125, True)
    missing = rl("healthcheck", "run", "nobody", check=False)
    assert (missing.returncode, "nobody" in missing.stderr) == (125, True)


@pytest.mark.parametrize("detached", [True, False])
def test_kill_on_failure(rl: Rootless, image: str, detached: bool) -> None:
    options = ("--health-cmd", "false", "--health-retries", "1", "--health-on-failure", "kill", "--network", "none")
    ended = rl("run", *(["-d"] if detached else []), "--name", "c", *options, image, "sleep", "1000", check=detached)
    wait_until(lambda: rl.status("c") == "exited")
    assert rl.inspect("c")["State"]["ExitCode"] == 137
    assert ended.returncode == (0 if detached else 137)


def test_kill_on_failure_leaves_it_to_the_restart_policy(rl: Rootless, image: str) -> None:
    options = ("--health-retries", "1", "--health-on-failure", "kill", "--restart", "on-failure:2")
    start(rl, image, "--health-cmd", "false", *options)
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 2 and not rl.inspect("c")["State"]["ConmonPid"])
    assert rl.inspect("c")["State"]["ExitCode"] == 137


def test_stop_on_failure_ends_the_restart_policy(rl: Rootless, image: str) -> None:
    options = ("--health-retries", "1", "--health-on-failure", "stop", "--restart", "always")
    start(rl, image, "--health-cmd", "false", *options)
    wait_until(lambda: rl.status("c") == "exited")
    assert rl.inspect("c")["RestartCount"] == 0


def test_restart_on_failure_by_the_same_monitor(rl: Rootless, image: str) -> None:
    options = ("--health-retries", "1", "--health-on-failure", "restart")
    start(rl, image, *SOON, "--health-cmd", "test -e /dev/shm/bad -o -e /ok || { touch /ok; false; }", *options)
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 1)
    has_status(rl, "healthy")
    assert rl.inspect("c")["RestartCount"] == 1
    monitor = rl.inspect("c")["State"]["ConmonPid"]
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children]
    assert "Z" not in states
    rl("stop", "-t", "0", "c")
    assert rl.status("c") == "exited"


def test_restart_on_failure_of_a_container_that_is_removed_at_its_end(rl: Rootless, image: str) -> None:
    options = ("--rm", "--health-retries", "1", "--health-on-failure", "restart")
    start(rl, image, *SOON, "--health-cmd", "test -e /ok || { touch /ok; false; }", *options)
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 1)
    has_status(rl, "healthy")
    rl("stop", "-t", "0", "c")
    assert rl("container", "exists", "c", check=False).returncode == 1


def test_a_check_at_startup_comes_first(rl: Rootless, image: str) -> None:
    startup = ("--health-startup-cmd", "echo up; test -e /up", "--health-startup-interval", "100ms")
    start(rl, image, *SOON, "--health-cmd", "echo regular", *startup, "--health-startup-success", "2")
    wait_until(lambda: len(health(rl)["Log"]) >= 2)
    assert health(rl)["Status"] == "starting"
    assert {entry["Output"] for entry in health(rl)["Log"]} == {"up\n"}
    rl("exec", "c", "touch", "/up")
    has_status(rl, "healthy")
    assert health(rl)["Log"][-1]["Output"] == "regular\n"


def test_a_container_that_does_not_start_up_is_restarted(rl: Rootless, image: str) -> None:
    startup = ("--health-startup-cmd", "test -e /up || { touch /up; false; }", "--health-startup-retries", "1")
    start(rl, image, *SOON, "--health-cmd", "true", *startup)
    has_status(rl, "healthy")
    assert rl.inspect("c")["RestartCount"] == 1


def test_a_check_that_takes_too_long_is_ended_with_all_of_its_session(rl: Rootless, image: str) -> None:
    check = "trap '' TERM; sleep 500 & sh -c 'trap \"\" TERM; sleep 500; :' & echo begun; wait; sleep 500"
    start(rl, image, "--init", "--health-cmd", check, "--health-timeout", "300ms", "--health-interval", "1h")
    wait_until(lambda: health(rl)["Log"])
    entry = health(rl)["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (-1, "Health check exceeded timeout (0.3s): begun\n")
    wait_until(lambda: "500" not in rl.out("exec", "c", "ps"), what="the end of the check's processes")


def test_a_check_that_takes_too_long_may_say_a_last_word(rl: Rootless, image: str) -> None:
    check = "trap 'echo bye; exit 1' TERM; echo begun; sleep 500 & wait"
    start(rl, image, "--health-cmd", check, "--health-timeout", "1s", "--health-interval", "1h")
    wait_until(lambda: health(rl)["Log"])
    assert health(rl)["Log"][0]["Output"].endswith("begun\nbye\n")


def test_healthcheck_run_takes_the_action_that_follows(rl: Rootless, image: str) -> None:
    options = ("--health-interval", "disable", "--health-retries", "1", "--health-on-failure", "kill")
    start(rl, image, "--health-cmd", "false", *options)
    assert rl("healthcheck", "run", "c", check=False).returncode == 1
    assert rl.out("wait", "c") == "137"


def test_what_a_check_leaves_running_does_not_hold_it_up(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "sleep 500 & echo done", "--health-interval", "1h")
    has_status(rl, "healthy")
    assert health(rl)["Log"][0]["Output"] == "done\n"


def test_the_log_is_bounded(rl: Rootless, image: str) -> None:
    options = ("--health-max-log-count", "2", "--health-max-log-size", "10")
    start(rl, image, *SOON, "--health-cmd", "head -c 20000000 /dev/zero | tr '\\0' x; date +%N", *options)
    wait_until(lambda: len(health(rl)["Log"]) == 2)
    first = health(rl)["Log"][0]
    assert first["Output"] == "x" * 10
    wait_until(lambda: health(rl)["Log"][0] != first)
    assert len(health(rl)["Log"]) == 2


def test_bytes_that_are_no_text(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "printf 'a\\000\\377\\nb'", "--health-interval", "1h")
    has_status(rl, "healthy")
    assert health(rl)["Log"][0]["Output"] == "a\ufffd\ufffd\nb"


def test_a_command_that_is_not_there_is_a_failure_that_the_log_explains(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", '["CMD", "/no/such/thing", "-q"]', "--health-retries", "1")
    has_status(rl, "unhealthy")
    entry = health(rl)["Log"][0]
    assert entry["ExitCode"] == 127
    assert "/no/such/thing" in entry["Output"]


def test_it_runs_as_the_containers_user_in_its_directory_with_its_variables(rl: Rootless, image: str) -> None:
    options = ("--user", "alice", "--workdir", "/tmp", "--env", "COLOUR=blue")
    start(rl, image, *options, "--health-cmd", 'echo "$(id -un) $(pwd) $COLOUR"', "--health-interval", "1h")
    has_status(rl, "healthy")
    assert health(rl)["Log"][0]["Output"] == "alice /tmp blue\n"


def test_the_log_in_a_directory(rl: Rootless, image: str, tmp_path: Path) -> None:
    start(rl, image, *SOON, "--health-cmd", "echo there", "--health-log-destination", str(tmp_path))
    has_status(rl, "healthy")
    wait_until(lambda: len(health(rl)["Log"]) == 5)
    (file,) = tmp_path.glob("*-healthcheck.log")
    written = json.loads(file.read_text())
    assert (written["Status"], written["Log"][0]["Output"]) == ("healthy", "there\n")
    file.write_text("[1, 2")
    wait_until(lambda: 0 < len(health(rl)["Log"]) < 5, what="a new log")


def test_events_tell_of_changes(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "test -e /ok", "--health-retries", "1")
    has_status(rl, "unhealthy")
    rl("exec", "c", "touch", "/ok")
    has_status(rl, "healthy")
    wait_until(lambda: len(told(rl)) >= 2)
    assert [event["health"] for event in told(rl)] == ["unhealthy", "healthy"]


def told(rl: Rootless) -> list[dict[str, Any]]:
    lines = (rl.root / "events/log").read_text().splitlines()
    identity = rl.inspect("c")["Id"]
    found = [json.loads(line) for line in lines if line]
    return [event for event in found if event["action"] == "health_status" and event["id"] == identity]


def test_the_status_begins_anew_with_each_start(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "true", "--health-interval", "disable")
    rl("healthcheck", "run", "c")
    rl("stop", "-t", "0", "c")
    rl("start", "c")
    assert (health(rl)["Status"], len(health(rl)["Log"])) == ("starting", 1)


def test_a_paused_container_is_not_checked(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "true")
    has_status(rl, "healthy")
    rl("pause", "c")
    before = health(rl)["Log"]
    time.sleep(0.4)  # in which four checks would come
    during = health(rl)["Log"]
    rl("unpause", "c")
    assert during == before
    wait_until(lambda: health(rl)["Log"][-1]["Start"] > during[-1]["Start"])


def test_the_monitors_death_ends_a_check_that_runs(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "sleep 500", "--health-interval", "1h")
    monitor = int(rl.inspect("c")["State"]["ConmonPid"])
    children = Path(f"/proc/{monitor}/task/{monitor}/children")
    wait_until(lambda: len(children.read_text().split()) == 2, what="the child that checks")
    wait_until(lambda: inside(rl) >= 3, what="the check")
    os.kill(monitor, signal.SIGKILL)
    wait_until(lambda: not [pid for pid in processes_of(rl.place) if pid != os.getpid()], what="the end of everything")
    assert rl.status("c") == "exited"


def test_a_check_that_is_killed_leaves_nothing_and_the_next_one_comes(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "test -e /ok || sleep 500")
    monitor = int(rl.inspect("c")["State"]["ConmonPid"])
    children = Path(f"/proc/{monitor}/task/{monitor}/children")
    wait_until(lambda: inside(rl) >= 3, what="the check")
    (child,) = [int(pid) for pid in children.read_text().split() if int(pid) != rl.inspect("c")["State"]["Pid"]]
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: inside(rl) == 2, what="the end of the check")
    assert health(rl)["Log"] == []
    rl("exec", "c", "touch", "/ok")
    rl("healthcheck", "run", "c")
    assert health(rl)["Status"] == "healthy"


def test_stop_does_not_wait_for_a_check(rl: Rootless, image: str) -> None:
    start(rl, image, "--health-cmd", "sleep 500")
    wait_until(lambda: inside(rl) >= 3, what="the check")
    began = time.monotonic()
    rl("stop", "-t", "0", "c")
    assert time.monotonic() - began < 5
    assert rl.status("c") == "exited"


def imported(rl: Rootless, image: str, *changes: str) -> str:
    rl("run", "--name", "base", "--network", "none", image, "true")
    archive = rl.place / "checked.tar"
    rl("export", "-o", str(archive), "base")
    words = [word for change in changes for word in ("--change", change)]
    rl("import", "-q", *words, str(archive), "localhost/checked:1")
    archive.unlink()
    return "localhost/checked:1"


def test_the_images_check(rl: Rootless, image: str) -> None:
    name = imported(rl, image, "HEALTHCHECK --interval=100ms --timeout=2s --start-period=1m --retries=7 CMD echo image")
    try:
        start(rl, name)
        has_status(rl, "healthy")
        second = 10**9
        assert rl.inspect("c")["Config"]["Healthcheck"] == {
            "Test": ["CMD-SHELL", "echo image"],
            "Interval": second // 10,
            "Timeout": 2 * second,
            "StartPeriod": 60 * second,
            "StartInterval": 5 * second,
            "Retries": 7,
        }
        start(rl, name, "--no-healthcheck", name="without")
        assert rl.inspect("without")["State"]["Health"] is None
        start(rl, name, "--health-retries", "2", name="changed")
        changed = rl.inspect("changed")["Config"]["Healthcheck"]
        assert (changed["Retries"], changed["Interval"]) == (2, second // 10)
        rl("commit", "-q", "--change", "HEALTHCHECK NONE", "c", "localhost/none:1")
        start(rl, "localhost/none:1", name="none")
        assert rl.inspect("none")["State"]["Health"] is None
    finally:
        rl("rm", "-f", "-a", "-t", "0")
        rl("rmi", "-f", name, "localhost/none:1", check=False)


def test_checks_come_often_while_it_starts(rl: Rootless, image: str) -> None:
    often = ("--health-interval", "1h", "--health-start-period", "1h", "--health-start-interval", "50ms")
    start(rl, image, *often, "--health-cmd", "test -e /ok")
    wait_until(lambda: len((rl.inspect("c")["State"]["Health"] or {}).get("Log") or []) >= 3)
    assert rl.inspect("c")["State"]["Health"]["Status"] == "starting"
    rl("exec", "c", "touch", "/ok")
    has_status(rl, "healthy")
    rl("update", "--health-start-interval", "2s", "c")
    assert rl.inspect("c")["Config"]["Healthcheck"]["StartInterval"] == 2 * 10**9
    assert rl("update", "--health-start-interval", "0s", "c", check=False).returncode == 125


def test_wait_for_health(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "test -e /ok", "--health-retries", "1")
    assert rl.out("wait", "--condition", "unhealthy", "c") == "-1"
    rl("exec", "c", "touch", "/ok")
    assert rl.out("wait", "--condition=healthy", "--interval", "20ms", "c") == "-1"
    assert health(rl)["Status"] == "healthy"


def test_ps_filters_by_health(rl: Rootless, image: str) -> None:
    start(rl, image, name="plain")
    start(rl, image, "--health-cmd", "true", "--health-interval", "1h", name="good")
    start(rl, image, "--health-cmd", "false", "--health-interval", "1h", "--health-retries", "1", name="bad")
    has_status(rl, "healthy", "good")
    has_status(rl, "unhealthy", "bad")
    for value, name in (("none", "plain"), ("healthy", "good"), ("unhealthy", "bad")):
        assert rl.out("ps", "--filter", f"health={value}", "--format", "{{.Names}}") == name


def test_update_of_checks(rl: Rootless, image: str) -> None:
    start(rl, image)
    refused = rl("update", "--restart", "always", "--health-retries", "2", "c", check=False)
    assert (refused.returncode, "no health check" in refused.stderr) == (125, True)
    assert rl.inspect("c")["HostConfig"]["RestartPolicy"]["Name"] == "no"
    rl("update", "--health-cmd", "echo one", "--health-interval", "1h", "c")
    has_status(rl, "healthy")
    rl("update", "--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1", "c")
    has_status(rl, "unhealthy")
    rl("update", "--no-healthcheck", "c")
    assert rl.inspect("c")["State"]["Health"] is None
    monitor = rl.inspect("c")["State"]["ConmonPid"]
    children = Path(f"/proc/{monitor}/task/{monitor}/children")
    wait_until(lambda: len(children.read_text().split()) == 1, what="the last check's end")
    time.sleep(0.3)
    assert len(children.read_text().split()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--health-interval", "5s"], "no health check"),
        (["--health-on-failure", "kill"], "no health check"),
        (["--health-startup-cmd", "true"], "no health check"),
        (["--health-cmd", "true", "--health-startup-retries", "2"], "no check at startup"),
        (["--health-cmd", ""], "no command"),
        (["--health-cmd", "[]"], "no command"),
        (["--health-cmd", "true", "--health-interval", "soon"], "soon"),
        (["--health-cmd", "true", "--health-interval", "-5s"], "-5s"),
        (["--health-cmd", "true", "--health-timeout", "0"], "at least"),
        (["--health-cmd", "true", "--health-retries", "0"], "at least 1"),
        (["--health-cmd", "true", "--health-retries", "x"], "x"),
        (["--health-cmd", "true", "--health-log-destination", "/no/such"], "/no/such"),
        (["--health-cmd", "true", "--health-on-failure", "cry"], "cry"),
        (["--health-cmd", "none", "--health-retries", "2"], "contradict"),
        (["--no-healthcheck", "--health-cmd", "true"], "contradict"),
    ],
)
def test_values_that_make_no_sense_are_refused_and_nothing_is_made(
    rl: Rootless, image: str, options: list[str], words: str
) -> None:
    refused = rl("create", "--name", "c", *options, image, check=False)
    assert refused.returncode == 125
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert rl("container", "exists", "c", check=False).returncode == 1


def test_little_memory_is_kept_for_checks(rl: Rootless, image: str) -> None:
    start(rl, image, name="plain")
    start(rl, image, *SOON, "--health-cmd", "true")
    wait_until(lambda: len(health(rl)["Log"]) >= 5)

    def own(name: str) -> int:
        lines = Path(f"/proc/{rl.inspect(name)['State']['ConmonPid']}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

    assert own("c") - own("plain") < 500  # KiB


def test_the_start_period_does_not_look_at_the_clock(rl: Rootless, image: str) -> None:
    """A wrong clock at the start, or one that jumps, is the same to it: a row that says another time."""
    start(rl, image, *SOON, "--health-cmd", "test -e /no", "--health-retries", "1", "--health-start-period", "1h")
    with closing(sqlite3.connect(rl.root / "db.sqlite", timeout=10)) as db, db:
        db.execute("UPDATE containers SET started = started - 1000000 WHERE name = 'c'")
    count = len(health(rl)["Log"])
    wait_until(lambda: len(health(rl)["Log"]) >= min(count + 2, 5))
    assert health(rl)["Status"] == "starting"


def test_a_container_that_is_prepared_is_checked_once_it_runs(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", "--health-cmd", "true", *SOON, image, "sleep", "1000")
    rl("init", "c")
    rl("start", "c")
    has_status(rl, "healthy")


def test_a_clone_has_the_same_checks(rl: Rootless, image: str) -> None:
    start(rl, image, *SOON, "--health-cmd", "echo same", "--health-on-failure", "kill", name="one")
    rl("container", "clone", "--run", "one", "c")
    has_status(rl, "healthy")
    one, other = rl.inspect("one")["Config"], rl.inspect("c")["Config"]
    for key in ("Healthcheck", "HealthcheckOnFailureAction", "HealthcheckMaxLogCount"):
        assert one[key] == other[key]


def test_a_clone_of_another_image_has_that_images_checks(rl: Rootless, image: str) -> None:
    rl("create", "--name", "base", "--network", "none", image, "true")
    changes = [("one", "5", "USR1"), ("two", "6", "USR2")]
    for name, user, stop in changes:
        words = (f"HEALTHCHECK CMD echo {name}", f"USER {user}", f"STOPSIGNAL SIG{stop}")
        rl("commit", "-q", *(part for word in words for part in ("--change", word)), "base", f"checked:{name}")
    rl("create", "--name", "plain", "--network", "none", "checked:one")
    rl("create", "--name", "own", "--network", "none", "--health-cmd", "echo own", "--user", "7", "checked:one")
    for name in ("plain", "own"):
        rl("container", "clone", name, f"{name}-two", "checked:two")
        rl("container", "clone", name, f"{name}-none", image)
    found = {}
    for name in ("plain-two", "plain-none", "own-two", "own-none"):
        config = rl.inspect(name)["Config"]
        check = (config.get("Healthcheck") or {}).get("Test")
        found[name] = (check and check[-1], config["User"], config["StopSignal"])
    assert found == {
        "plain-two": ("echo two", "6", "SIGUSR2"),
        "plain-none": (None, "", "SIGTERM"),
        "own-two": ("echo own", "7", "SIGUSR2"),
        "own-none": ("echo own", "7", "SIGTERM"),
    }
    rl("rm", "--all")
    rl("rmi", "checked:one", "checked:two")


def test_a_commit_has_the_checks_and_the_signal_of_its_container(rl: Rootless, image: str) -> None:
    options = ("--health-cmd", "echo mine", "--health-interval", "7s", "--health-retries", "4", "--stop-signal", "HUP")
    rl("create", "--name", "c", "--network", "none", *options, image, "true")
    rl("commit", "-q", "c", "checked")
    config = rl.inspect_image("checked")["Config"]
    assert config["Healthcheck"]["Test"] == ["CMD-SHELL", "echo mine"]
    assert (config["Healthcheck"]["Interval"], config["Healthcheck"]["Retries"]) == (7 * 10**9, 4)
    assert config["StopSignal"] == "HUP"
    rl("create", "--name", "again", "--network", "none", "checked", "true")
    assert rl.inspect("again")["Config"]["Healthcheck"] == rl.inspect("c")["Config"]["Healthcheck"]
    rl("create", "--name", "none", "--network", "none", "--no-healthcheck", "checked", "true")
    rl("commit", "-q", "none", "unchecked")
    assert rl.inspect_image("unchecked")["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    rl("rm", "--all")
    rl("rmi", "checked", "unchecked")


def test_checks_on_a_terminal_and_in_the_foreground_are_not_seen(rl: Rootless, image: str) -> None:
    options = ("--rm", "--network", "none", *SOON, "--health-cmd", "echo noise; echo noise >&2")
    done = rl("run", *options, image, "sh", "-c", "sleep 0.5; echo done")
    assert (done.stdout, done.stderr) == ("done\n", "")
    done = rl("run", "-t", *options, image, "sh", "-c", "sleep 0.5; echo done")
    assert done.stdout.split() == ["done"]
