"""`ps`: columns, namespaces, the last ones, and looking again and again."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.command import Rootless

NAMESPACES = {
    "CGROUPNS": "cgroup",
    "IPC": "ipc",
    "MNT": "mnt",
    "NET": "net",
    "PIDNS": "pid",
    "USERNS": "user",
    "UTS": "uts",
}


@pytest.fixture
def three(rl: Rootless, image: str) -> Rootless:
    rl("create", "--name", "old", "--network", "none", image, "true")
    rl("run", "-d", "--name", "up", "--network", "none", "--health-cmd", "true", image, "sleep", "100")
    rl("create", "--name", "new", "--network", "none", "--expose", "80", "--expose", "80/udp", image, "true")
    return rl


def names(rl: Rootless, *words: str) -> list[str]:
    return rl.out("ps", "--format", "{{.Names}}", *words).split()


def test_the_last_ones(three: Rootless) -> None:
    assert names(three) == ["up"]
    assert names(three, "-n", "0") == ["up"]
    assert names(three, "-n", "2") == ["up", "new"]
    assert names(three, "-l") == ["new"]
    assert names(three, "-n", "2", "--filter", "status=created") == ["old", "new"]
    assert names(three, "-n", "1", "--filter", "status=created", "--external", "--sync") == ["new"]


def test_namespaces_are_those_of_its_first_process(three: Rootless) -> None:
    heading, *lines = three.out("ps", "-a", "--ns").splitlines()
    assert heading.split() == ["CONTAINER", "ID", "NAMES", "PID", *NAMESPACES]
    identity, name, pid, *numbers = lines[1].split()
    assert (identity, name) == (three.inspect("up")["Id"][:12], "up")
    assert numbers == [os.readlink(f"/proc/{pid}/ns/{kind}").partition("[")[2][:-1] for kind in NAMESPACES.values()]
    assert lines[0].split() == [three.inspect("old")["Id"][:12], "old", "0"]
    assert three.out("ps", "--ns", "--format", "{{.PIDNS}} {{.Namespaces.User}} {{.Cgroup}}") == " ".join(
        (numbers[4], numbers[5], numbers[0])
    )
    (listed,) = json.loads(three.out("ps", "--ns", "--format", "json"))
    assert sorted(listed["Namespaces"].values()) == sorted(numbers)
    assert json.loads(three.out("ps", "--format", "json"))[0]["Namespaces"] == {}


def test_columns_for_pods_are_empty(three: Rootless) -> None:
    heading, line = three.out("ps", "--pod", "--size").splitlines()
    assert heading.split()[-4:] == ["POD", "ID", "PODNAME", "SIZE"]
    assert line.endswith("B)")
    assert " (virtual " in line
    assert len(three.out("ps", "--pod", "--noheading").splitlines()) == 1


def test_health_and_exposed_ports(three: Rootless) -> None:
    three("healthcheck", "run", "up")
    assert three.out("ps", "--format", "{{.Status}}").endswith(" (healthy)")
    assert names(three, "--filter", "health=healthy") == ["up"]
    (listed,) = json.loads(three.out("ps", "-l", "--format", "json"))
    assert listed["ExposedPorts"] == {"80": ["tcp", "udp"]}


def test_watching_prints_again_and_again(three: Rootless) -> None:
    watching = three.popen("ps", "--watch", "0", "--format", "{{.Names}} {{.State}}", "-a", "--filter", "name=new")
    assert watching.stdout is not None
    try:
        assert watching.stdout.readline() == b"new created\n"
        three("start", "new")
        seen = {watching.stdout.readline()}
        while b"new exited\n" not in seen:
            seen.add(watching.stdout.readline())
        assert b"" not in seen
    finally:
        watching.kill()
        watching.communicate()


@pytest.mark.parametrize(
    "words", [["-q", "--size"], ["-q", "--ns"], ["--ns", "--size"], ["-l", "-n", "3"], ["-w", "-1"]]
)
def test_what_contradicts_itself_is_refused(rl: Rootless, words: list[str]) -> None:
    done = rl("ps", *words, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("Error: ps: ")


def test_ports_of_the_latest_and_of_all(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "web", "-p", "127.0.0.1::80", image, "sleep", "100")
    published = rl.out("port", "web", "80")
    assert published.startswith("127.0.0.1:")
    assert rl.out("port", "--latest") == f"80/tcp -> {published}"
    assert rl.out("port", "-l", "80") == published
    assert rl.out("port", "--all").endswith(f"\t80/tcp -> {published}")
    for words in (["--all", "web"], ["--all", "--latest"], ["--latest", "web", "80"], ["-l", "81"], []):
        assert rl("port", *words, check=False).returncode == 125
