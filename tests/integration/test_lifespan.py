"""Options that say when a container begins and ends: time limits, files of process ids, containers that it needs or
takes the place of, streams that are attached."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until


@pytest.mark.parametrize("options", [(), ("-d",)], ids=["foreground", "detached"])
def test_a_container_is_killed_when_its_time_is_up(rl: Rootless, image: str, options: tuple[str, ...]) -> None:
    started = time.monotonic()
    done = rl("run", *options, "--name", "c", "--network", "none", "--timeout", "1", image, "sleep", "60", check=False)
    assert (rl.out("wait", "c") if options else str(done.returncode)) == "137"
    assert 0.9 < time.monotonic() - started < 10
    assert rl.inspect("c")["Config"]["Timeout"] == 1


def test_a_container_that_ends_in_time_is_not_affected(rl: Rootless, image: str) -> None:
    rl("run", "--rm", "--network", "none", "--timeout", "60", image, "true")


def test_pid_files(rl: Rootless, image: str, tmp_path: Path) -> None:
    own, monitor = tmp_path / "pid", tmp_path / "monitor"
    rl(*("run", "-d", "--name", "c", "--network", "none", "--pidfile", str(own), "--conmon-pidfile", "monitor"),
       *("--restart", "always", image, "sleep", "60"), cwd=tmp_path)  # fmt: skip
    found = rl.inspect("c")
    assert own.read_text() == str(found["State"]["Pid"])
    assert monitor.read_text() == str(found["State"]["ConmonPid"])
    assert (found["PidFile"], found["ConmonPidFile"]) == (str(own), str(monitor))
    os.kill(found["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: rl.inspect("c")["RestartCount"] == 1 and rl.status("c") == "running")
    assert own.read_text() == str(rl.inspect("c")["State"]["Pid"])
    rl("rm", "-f", "-t", "0", "c")


def test_a_pid_file_that_cannot_be_written_is_refused_beforehand(rl: Rootless, image: str, tmp_path: Path) -> None:
    for path in ("/nowhere/pid", str(tmp_path)):
        done = rl("run", "--pidfile", path, "--network", "none", image, "true", check=False)
        assert (done.returncode, rl.out("ps", "-aq")) == (125, "")
        assert path in done.stderr


def test_a_container_is_replaced(rl: Rootless, image: str) -> None:
    options = ("--replace", "--name", "c", "--network", "none", "--stop-timeout", "0", image)
    first = rl.out("run", "-d", *options, "sleep", "60")
    second = rl.out("run", "-d", *options, "sleep", "61")
    assert rl.out("ps", "-aq", "--no-trunc") == second != first
    third = rl.out("create", *options, "true")
    assert rl.out("ps", "-aq", "--no-trunc") == third
    rl("run", *options, "true")
    assert rl.out("ps", "-aq", "--no-trunc") not in (third, "")
    rl("rm", "c")


def test_a_replaced_container_hands_over_its_port(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--stop-timeout", "0", "-p", "127.0.0.1::80", image, "sleep", "60")
    port = rl.inspect("c")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    rl("run", "-d", "--replace", "--name", "c", "-p", f"127.0.0.1:{port}:80", image, "sleep", "60")
    assert rl.inspect("c")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == port
    rl("rm", "-f", "-t", "0", "c")


def test_what_makes_no_sense_replaces_nothing(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    for options in (
        ["--name", "c", "no/such:image"],
        ["--name", "c", "--network", "none", "-p", "80:80", image],
        [image],
    ):
        done = rl("create", "--replace", "--pull", "never", *options, check=False)
        assert done.returncode == 125
        assert rl.status("c") == "created"
    assert "--name" in done.stderr


def test_what_a_container_needs_is_started_first(rl: Rootless, image: str) -> None:
    for name, needs in (("one", ""), ("two", "one"), ("three", "two")):
        rl(
            "create",
            "--name",
            name,
            "--network",
            "none",
            *(["--requires", needs] if needs else []),
            image,
            "sleep",
            "60",
        )
    assert rl.inspect("two")["Dependencies"] == [rl.inspect("one")["Id"]]
    rl("start", "three")
    started = [rl.inspect(name)["State"]["StartedAt"] for name in ("one", "two", "three")]
    assert started == sorted(started)
    rl("kill", "one")
    rl(*("run", "--rm", "--network", "none", "--requires", "one,two", image, "true"))
    assert rl.status("one") == "running"
    rl("rm", "-f", "-t", "0", "three", "two", "one")
    assert rl.out("ps", "-aq") == ""


def test_what_a_container_needs_is_not_removed_before_it(rl: Rootless, image: str) -> None:
    rl("create", "--name", "one", "--network", "none", image, "true")
    rl("create", "--name", "two", "--network", "none", "--requires", "one", image, "true")
    rl("create", "--name", "three", "--network", "none", "--requires", "two", image, "true")
    for options in ((), ("-f",)):
        done = rl("rm", *options, "one", check=False)
        assert done.returncode == 125
        assert "dependent containers which must be removed before it: two" in done.stderr
    assert "one" in rl("container", "prune", "-f", check=False).stderr
    assert rl.out("ps", "-a", "--format", "{{.Names}}").split() == ["one", "two"], "nobody needs the third"
    rl("rm", "--depend", "one")
    assert rl.out("ps", "-aq") == ""


def test_rm_depend_prints_what_it_removes_in_order(rl: Rootless, image: str) -> None:
    ids = [rl.out("create", "--name", "one", "--network", "none", image, "true")]
    for name in ("two", "three"):
        ids.append(rl.out("create", "--name", name, "--network", "none", "--requires", "one", image, "true"))
    assert rl.out("rm", "--depend", "one").split() == [ids[1], ids[2], "one"]
    assert rl.out("ps", "-aq") == ""


def test_a_container_that_is_not_there_cannot_be_needed(rl: Rootless, image: str) -> None:
    for verb in ("run", "create"):
        done = rl(verb, "--network", "none", "--requires", "nobody", image, "true", check=False)
        assert (done.returncode, rl.out("ps", "-aq")) == (125, "")
        assert "nobody" in done.stderr


def test_a_needed_container_that_has_removed_itself_is_told(rl: Rootless, image: str) -> None:
    needed = rl.out("run", "-d", "--rm", "--network", "none", image, "sleep", "60")
    rl("create", "--name", "c", "--network", "none", "--requires", needed, image, "true")
    rl("stop", "-t", "0", needed)
    done = rl("start", "c", check=False)
    assert done.returncode == 125
    assert needed[:12] in done.stderr
    rl("rm", "c")


@pytest.mark.parametrize("options", [(), ("-d",)], ids=["foreground", "detached"])
def test_the_image_goes_with_its_last_container(fresh: Rootless, busybox: Path, options: tuple[str, ...]) -> None:
    fresh("load", "-q", "-i", str(busybox))
    fresh("create", "--name", "other", "--network", "none", "busybox", "true")
    done = fresh("run", "--rm", "--rmi", *options, "--network", "none", "busybox", "true")
    wait_until(lambda: len(fresh.out("ps", "-aq").split()) == 1)
    assert fresh.out("images", "-q")
    assert "other" in done.stderr or options
    fresh("rm", "other")
    fresh("run", "--rm", "--rmi", *options, "--network", "none", "busybox", "true")
    wait_until(lambda: not fresh.out("images", "-q"))


@pytest.mark.parametrize("step", ["running", "remove-run-directory", "remove-files", "image-of-container-forgotten"])
def test_the_image_goes_although_the_monitor_is_killed(fresh: Rootless, busybox: Path, step: str) -> None:
    """Row and image go in one transaction, by whoever removes what the monitor has left."""
    fresh("load", "-q", "-i", str(busybox))
    died = fresh(
        *("run", "--rm", "--rmi", "--network", "none", "busybox", "true"),
        env={"ROOTLESS_TEST_DIE_AT": step},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert fresh.out("ps", "-aq") == ""
    assert fresh.out("images", "-q") == ""
    fresh("image", "prune", "--force")
    assert os.listdir(fresh.root / "layers") == []
    fresh("system", "check")


def test_rmi_needs_rm(rl: Rootless, image: str) -> None:
    done = rl("run", "--rmi", image, "true", check=False)
    assert done.returncode == 125
    assert "--rm" in done.stderr


@pytest.mark.parametrize(
    ("streams", "out", "error"),
    [
        (["stdout"], "read this\n", ""),
        (["stderr"], "", "error\n"),
        (["stdin,stdout"], "read that\n", ""),
        (["STDERR", "stdin"], "", "error\n"),
        (["stdin"], "", ""),
    ],
)
def test_only_the_streams_that_are_asked_for_are_attached(
    rl: Rootless, image: str, streams: list[str], out: str, error: str
) -> None:
    options = [word for stream in streams for word in ("-a", stream)]
    done = rl(
        *("run", "--name", "c", "--network", "none", *options, image),
        *("sh", "-c", "read word || word=this; echo read $word; echo error >&2"),
        input="that\n",
    )
    assert (done.stdout, done.stderr) == (out, error)
    assert "error" in rl("logs", "c").stderr, "the log has all of it"
    found = rl.inspect("c")["Config"]
    named = ",".join(streams).lower()
    for stream in ("stdin", "stdout", "stderr"):
        assert found[f"Attach{stream.capitalize()}"] == (stream in named), json.dumps(found)
    rl("rm", "c")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-a", "stdfoo"], "stdfoo"),
        (["-d", "-a", "stdout"], "--detach"),
        (["-t", "-a", "stdin"], "--attach"),
        (["--timeout", "-1"], "--timeout"),
        (["--restart", "sometimes"], "sometimes"),
        (["--restart", "always:3"], "on-failure"),
        (["--replace"], "--name"),
    ],
)
def test_contradictions_are_refused(rl: Rootless, image: str, options: list[str], said: str) -> None:
    done = rl("run", *options, "--network", "none", image, "true", check=False)
    assert (done.returncode, rl.out("ps", "-aq")) == (125, "")
    assert said in done.stderr


@pytest.mark.parametrize("changed", [False, True])
def test_a_cidfile_goes_with_its_container(rl: Rootless, image: str, tmp_path: Path, changed: bool) -> None:
    file = tmp_path / "cid"
    for options in (("--rm",), ()):
        command = ("run", *options, "--name", "c", "--network", "none", "--cidfile", os.path.relpath(file), image)
        if changed:  # it names another one by now
            file.unlink(missing_ok=True)
            rl(*command, "true")
            if options:
                continue
            file.write_text("0" * 64)
        else:
            rl(*command, "true")
        if not options:
            rl("rm", "c", cwd="/")
        assert file.exists() == changed
