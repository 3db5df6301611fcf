"""`stats`: what containers use."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.support.command import Rootless, wait_until


def percent(text: str) -> float:
    return float(text.removesuffix("%"))


def one(rl: Rootless, template: str, *names: str) -> list[str]:
    return rl.out("stats", "--no-stream", "--format", template, *names).splitlines()


def test_a_busy_and_an_idle_container_are_told_apart(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "busy", "--network", "none", image, "sh", "-c", "trap exit TERM; while :; do :; done")
    rl("run", "-d", "--name", "idle", "--network", "none", image, "sleep", "60")
    wait_until(lambda: percent(one(rl, "{{.CPUPerc}}", "busy")[0]) > 20, 20)
    assert percent(one(rl, "{{.CPU}}", "idle")[0]) < 20


def test_keys_of_json_are_podmans(rl: Rootless, image: str) -> None:
    identity = rl.out("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    (found,) = json.loads(rl.out("stats", "--no-stream", "--format", "json"))
    assert set(found) == {
        "id", "name", "cpu_time", "cpu_percent", "avg_cpu", "mem_usage", "mem_percent", "net_io", "block_io", "pids",
        "cpu_pressure", "mem_pressure", "io_pressure",
    }  # fmt: skip
    assert (found["id"], found["name"], found["pids"]) == (identity[:12], "c", "1")


def test_memory_is_what_the_processes_hold(rl: Rootless, image: str) -> None:
    script = "x=$(yes | head -c 30000000); echo ready; sleep 60; :"
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", script)
    wait_until(lambda: "ready" in rl.out("logs", "c"), 30)
    size = one(rl, "{{.MemUsage}}", "c")[0].split(" / ")[0]
    assert size.endswith("MB")
    assert 30 <= float(size.removesuffix("MB")) < 200


def test_network_and_disk_are_counted(rl: Rootless, image: str) -> None:
    script = "dd if=/dev/zero of=/f bs=1M count=8 conv=fsync; wget -qO- http://10.0.2.2:1/; echo ready; sleep 60"
    rl("run", "-d", "--name", "c", "--network", "slirp4netns", image, "sh", "-c", script)
    wait_until(lambda: "ready" in rl.out("logs", "c"), 30)
    network, blocks = one(rl, "{{.NetIO}}|{{.BlockIO}}", "c")[0].split("|")
    assert not network.endswith("/ 0B")
    assert blocks.endswith("MB")


def test_without_a_network_of_its_own_there_is_nothing_to_count(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "host", image, "sleep", "60")
    assert one(rl, "{{.NetIO}}", "c") == ["-- / --"]


def test_stopped_containers_are_shown_on_request(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", image, "true")
    assert one(rl, "{{.Name}}") == []
    assert one(rl, "{{.Name}} {{.CPUPerc}} {{.PIDS}}", "--all") == ["c -- --"]


def test_the_stream_ends_with_the_containers_it_is_about(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    stream = rl.popen("stats", "--interval", "1", "--format", "{{.Name}} {{.PIDS}}", "c")
    assert stream.stdout is not None
    assert stream.stdout.readline() == b"c 1\n"
    rl("rm", "-f", "-t", "0", "c")
    assert stream.wait(10) == 0


def test_ctrl_c_ends_the_stream(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "60")
    stream = rl.popen("stats", stderr=subprocess.PIPE)
    assert stream.stdout is not None
    assert stream.stdout.readline().startswith(b"ID ")
    stream.send_signal(signal.SIGINT)
    _, said = stream.communicate(timeout=10)
    assert stream.returncode == 130
    assert said == b""


@pytest.mark.parametrize("words", [("--all", "c"), ("--latest", "c"), ("nobody",)])
def test_what_makes_no_sense_is_refused(rl: Rootless, image: str, words: tuple[str, ...]) -> None:
    rl("create", "--name", "c", image, "true")
    assert rl("stats", "--no-stream", *words, check=False).returncode == 125
