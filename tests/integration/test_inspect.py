"""`inspect` of a container: Podman's keys, with values that are true."""

from __future__ import annotations

import json

import pytest

from tests.support.command import Rootless
from tests.support.podman_keys import CONTAINER, IMAGE, LISTED, check


def test_podmans_keys_are_there(rl: Rootless, image: str) -> None:
    words = ("--network", "none", "--health-cmd", "true", "-v", "/tmp:/h", "--tmpfs", "/t", "--label", "a=b")
    rl("run", "-d", "--name", "c", *words, image, "sleep", "100")
    check(rl.inspect("c"), CONTAINER)
    (listed,) = json.loads(rl.out("ps", "--size", "--format", "json"))
    check(listed, LISTED)
    labelled = rl.out("commit", "-q", "--change", "LABEL a=b", "c")
    check(rl.inspect(labelled), IMAGE)
    rl("rmi", labelled)


def test_what_only_docker_has(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    found = rl.inspect("c")
    assert found["LogPath"] == found["HostConfig"]["LogConfig"]["Path"]
    assert found["Platform"] == "linux"
    rl("create", "--name", "silent", "--network", "none", "--log-driver", "none", image, "true")
    assert rl.inspect("silent")["LogPath"] == "", "there is no such file"
    assert "/proc/kcore" in found["HostConfig"]["MaskedPaths"]
    assert "/proc/sys" in found["HostConfig"]["ReadonlyPaths"]


def test_what_nobody_limits_is_zero(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "--network", "none", image, "true")
    template = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.Devices}}"
    assert rl.out("inspect", "-f", template, "c") == "0 0 0 []"
    assert rl.out("inspect", "-f", "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "c") == "none"


def test_the_command_line_that_made_it_and_the_digest_of_its_image(rl: Rootless, image: str) -> None:
    line = ("create", "--name", "c", "--network", "none", "-e", "A=b c", image, "true", "-x")
    rl(*line)
    found = rl.inspect("c")
    assert found["Config"]["CreateCommand"] == ["rootless", *line]
    assert found["ImageDigest"] == rl.inspect_image(image)["Digest"]


@pytest.mark.parametrize(("mode", "address"), [("none", ""), ("slirp4netns", "10.0.2.100")])
def test_the_network_is_listed_under_its_name(rl: Rootless, image: str, mode: str, address: str) -> None:
    rl("run", "-d", "--name", "c", "--network", mode, image, "sleep", "100")
    settings = rl.inspect("c")["NetworkSettings"]
    assert settings["Networks"][mode]["IPAddress"] == settings["IPAddress"] == address
    assert rl.out("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "c") == address


def test_ports_that_are_published_are_exposed(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", "-p", "80", "--expose", "53-54/UDP,7", image, "true")
    assert sorted(rl.inspect("c")["Config"]["ExposedPorts"]) == ["53/udp", "54/udp", "7/tcp", "80/tcp"]


@pytest.mark.parametrize("text", ["nonsense", "80/icmp", "nonsense/icmp", "0", "65536", "9-8", "-1", "80-", "/tcp", ""])
def test_what_is_no_port_cannot_be_exposed(rl: Rootless, image: str, text: str) -> None:
    refused = rl("create", "--name", "c", "--expose=" + text, image, "true", check=False)
    assert refused.returncode == 125
    assert refused.stderr.startswith(f'Error: exposing "{text}": ')
    assert rl.out("ps", "-aq") == ""


def test_kinds_are_looked_for_one_after_the_other(rl: Rootless, image: str) -> None:
    rl("create", "--name", "same", "--network", "none", image, "true")
    rl("volume", "create", "same")
    rl("volume", "create", "other")
    found = json.loads(rl.out("inspect", "same", image, "other"))
    assert [("State" in one, "RootFS" in one, "Mountpoint" in one) for one in found] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert rl.out("inspect", "-t", "volume", "-f", "{{.Name}} {{.Driver}}", "same") == "same local"
    assert rl.out("inspect", "--latest", "--format", "{{.Name}}") == "same"
    rl("volume", "rm", "same", "other")


@pytest.mark.parametrize(
    ("words", "out", "error"),
    [
        (["nobody"], "[]\n", 'no such object: "nobody"'),
        (["-t", "container", "nobody"], "[]\n", 'no container with name or ID "nobody" found'),
        (["-t", "image", "nobody"], "[]\n", "no such image nobody"),
        (["-t", "volume", "nobody"], "[]\n", "no such volume: nobody"),
        (["-t", "network", "nobody"], "[]\n", "no such network nobody"),
        (["-t", "pod", "nobody"], "[]\n", "no such pod nobody"),
        (["-t", "image", "--latest"], "", "inspect: --latest is a container, and --type image is none"),
        (["--latest", "nobody"], "", "inspect: --latest and a name exclude each other"),
        ([], "", "inspect: nothing is named"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_told(rl: Rootless, words: list[str], out: str, error: str) -> None:
    done = rl("inspect", *words, check=False)
    assert (done.returncode, done.stdout) == (125, out)
    assert done.stderr.splitlines()[0] == f"Error: {error}"


def test_commands_of_exec_are_listed_while_they_run(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "100")
    session = rl.out("exec", "-d", "c", "sleep", "100")
    assert rl.inspect("c")["ExecIDs"] == [session]
    rl("stop", "-t", "0", "c")
    assert rl.inspect("c")["ExecIDs"] == []
