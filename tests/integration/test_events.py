"""`events`: what is told of real containers, images and volumes, afterwards and live."""

from __future__ import annotations

import json
import os
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Rootless, wait_until


def told(rl: Rootless, since: float, *words: str) -> list[dict[str, Any]]:
    text = rl.out("events", "--stream=false", "--since", repr(since), "--format", "json", *words)
    return [json.loads(line) for line in text.splitlines()]


def actions(rl: Rootless, since: float, *words: str) -> list[str]:
    return [event["Status"] for event in told(rl, since, *words)]


@pytest.fixture
def since() -> float:
    return time.time()


def test_a_container_that_is_run_and_removed(rl: Rootless, image: str, since: float) -> None:
    assert rl("run", "--rm", "--label", "a=b", "--network", "none", image, "sh", "-c", "exit 3", check=False).returncode
    found = told(rl, since, "--filter", "type=container")
    assert [event["Status"] for event in found] == ["create", "start", "attach", "died", "cleanup", "remove"]
    (identity,) = {event["ID"] for event in found}
    assert len(identity) == 64
    assert all(event["Image"] == image and event["Attributes"] == {"a": "b"} for event in found)
    assert [event.get("ContainerExitCode") for event in found] == [None, None, None, 3, None, None]


def test_a_container_in_the_background(rl: Rootless, image: str, since: float) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "100")
    rl("exec", "c", "true")
    rl("exec", "-d", "c", "true")
    wait_until(lambda: actions(rl, since).count("exec_died") == 2)
    rl("kill", "-s", "WINCH", "c")
    rl("restart", "-t", "0", "c")
    rl("stop", "-t", "0", "c")
    rl("export", "c", "-o", "/dev/null")
    rl("rm", "c")
    assert actions(rl, since, "--filter", "container=c") == [
        *("create", "start", "exec", "exec_died", "exec", "exec_died", "kill"),
        *("died", "cleanup", "stop", "start", "restart", "died", "cleanup", "stop", "export", "remove"),
    ]
    assert [event["Attributes"] for event in told(rl, since, "--filter", "event=kill")] == [{"signal": "28"}]


def test_a_container_whose_monitor_was_killed(rl: Rootless, image: str, since: float) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "100")
    os.kill(rl.inspect("c")["State"]["ConmonPid"], signal.SIGKILL)
    wait_until(lambda: rl.status("c") == "exited")
    (died,) = told(rl, since, "--filter", "event=died")
    assert died["ContainerExitCode"] == 137


def test_a_program_that_is_not_there_never_starts(rl: Rootless, image: str, since: float) -> None:
    assert rl("run", "--rm", "--network", "none", image, "/nothing", check=False).returncode == 127
    assert actions(rl, since, "--filter", "type=container") == ["create", "remove"]


def test_a_restart_policy_is_told(rl: Rootless, image: str, since: float) -> None:
    rl("run", "-d", "--name", "c", "--restart", "on-failure:1", "--network", "none", image, "false")
    wait_until(lambda: actions(rl, since).count("cleanup") == 1)
    assert actions(rl, since, "--filter", "container=c") == [
        *("create", "start", "died", "start", "restart", "died", "cleanup"),
    ]


def test_images_and_volumes(rl: Rootless, image: str, since: float, tmp_path: Path) -> None:
    rl("create", "--name", "c", "--network", "none", "-v", "data:/data", image, "true")
    identity = rl.out("commit", "-q", "c", "made")
    rl("save", "-q", "-o", str(tmp_path / "archive"), "made")
    rl("tag", "made", "made:2")
    rl("untag", "made", "made:2")
    rl("rmi", "made")
    rl("load", "-q", "-i", str(tmp_path / "archive"))
    rl("rmi", "made")
    rl("rm", "c")
    rl("volume", "rm", "data")
    images = told(rl, since, "--filter", "type=image")
    assert {event["ID"] for event in images} == {identity.removeprefix("sha256:")}
    assert [event["Status"] for event in images] == [
        *("save", "tag", "untag", "untag", "remove"),
        *("loadfromarchive", "untag", "remove"),
    ]
    assert [event["Name"] for event in images[:3]] == [
        *("docker.io/library/made:latest", "docker.io/library/made:2", "docker.io/library/made:2"),
    ]
    assert actions(rl, since, "--filter", "volume=data") == ["create", "remove"]
    assert "commit" in actions(rl, since, "--filter", "container=c")


def test_what_prune_removes(fresh: Rootless, since: float) -> None:
    fresh("volume", "create", "unused")
    fresh("volume", "prune", "-f")
    assert actions(fresh, since) == ["create", "remove", "prune"]
    fresh("import", "-q", *tarball(fresh.place), "localhost/one:1")
    fresh("image", "prune", "-af")
    found = told(fresh, since, "--filter", "type=image")
    assert [event["Status"] for event in found] == ["import", "untag", "remove", "prune"]
    assert {event["Name"] for event in found} == {"localhost/one:1"}


def test_copies_new_names_and_pruned_containers(rl: Rootless, image: str, since: float, tmp_path: Path) -> None:
    rl("create", "--name", "old", "--network", "none", image, "true")
    rl("create", "--name", "other", "--network", "none", image, "true")
    rl("cp", "old:/etc", str(tmp_path / "etc"))
    rl("cp", "old:/etc", "other:/copied")
    rl("cp", "old:/etc", "old:/copied")
    rl("rename", "old", "new")
    (renamed,) = told(rl, since, "--filter", "event=rename")
    assert (renamed["Name"], renamed["Attributes"]) == ("new", {"oldName": "old"})
    assert [event["Name"] for event in told(rl, since, "--filter", "event=copy")] == ["old", "old", "other", "old"]
    rl("container", "prune", "--force")
    pruned = told(rl, since, "--filter", "event=prune")
    assert sorted((event["Type"], event["Name"]) for event in pruned) == [("container", "new"), ("container", "other")]


def tarball(place: Path) -> list[str]:
    with tarfile.open(place / "root.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("file"))
    return [str(place / "root.tar")]


def test_a_pull_that_fails_is_told_with_its_reason(rl: Rootless, since: float) -> None:
    rl("pull", "-q", "localhost:1/nothing", check=False)
    (failed,) = told(rl, since)
    assert (failed["Status"], failed["Name"]) == ("pull-error", "localhost:1/nothing")
    assert failed["Error"]


def test_events_are_followed_live(rl: Rootless, image: str) -> None:
    rl("volume", "create", "before")
    following = rl.popen("events", "--format", "{{.Type}} {{.Status}} {{.Name}}", "--filter", "volume=after")
    ending = rl.popen("events", "--until", "1s", "--filter", "volume=before", "--format", "{{.Status}}")
    assert following.stdout is not None
    try:
        wait_until(lambda: inotify_of(following.pid))
        rl("volume", "create", "after")
        assert following.stdout.readline() == b"volume create after\n"
        rl("volume", "rm", "after")
        assert following.stdout.readline() == b"volume remove after\n"
        assert ending.wait(10) == 0
        assert ending.communicate()[0] == b"create\n"
    finally:
        following.kill()
        following.communicate()
        ending.kill()
        ending.communicate()
        rl("volume", "rm", "before")


def inotify_of(pid: int) -> bool:
    place = f"/proc/{pid}/fd"
    return any(os.readlink(f"{place}/{fd}") == "anon_inode:inotify" for fd in os.listdir(place))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--filter", "foo"], "filter 'foo': not one of container,"),
        (["--filter", "type=foo"], "filter type=foo: not one of container,"),
        (["--since", "abc"], "'abc' is not a time"),
        (["--until", "abc"], "'abc' is not a time"),
        (["foo"], "events: got unexpected extra argument"),
        (["--format", "table {{.ID}}"], "events: --format table"),
        (["--format", "{{.Foo}}"], "template: there is no field .Foo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_understood(rl: Rootless, words: list[str], error: str) -> None:
    done = rl("events", "--stream=false", *words, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"Error: {error}")
