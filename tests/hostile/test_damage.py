"""Stores and run directories that somebody has damaged: each error names the file and says what to do, and one damaged
container holds up no other."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rootless.kernel.mounts import MS_BIND, mount
from tests.support.archives import layer
from tests.support.command import Rootless
from tests.support.hosts import OddHost
from tests.support.images import busybox_layer, docker_archive

QUIET = ("--network", "none")


def refused(rl: Rootless, *words: str) -> str:
    done = rl(*words, check=False)
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "internal error" not in done.stderr
    return done.stderr


def container(rl: Rootless, image: str, *words: str) -> Path:
    return rl.root / "containers" / rl.out("create", "--name", "c", *QUIET, image, *(words or ("echo", "fine")))


def without(*names: str) -> Callable[[dict[str, Any]], object]:
    def change(config: dict[str, Any]) -> object:
        inner = config
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]
        return config

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda config: [], "all of it is list"),
        (lambda config: {}, "hostname is missing"),
        (lambda config: None, "all of it is missing"),
        (without("process", "cwd"), "process.cwd is missing"),
        (without("process", "capabilities", "bounding"), "process.capabilities.bounding is missing"),
        (lambda config: {**config, "mounts": [1]}, "an entry of mounts is int"),
        (lambda config: {**config, "mounts": [{"type": "bind", "source": "/"}]}, "mounts.destination is missing"),
        (lambda config: {**config, "process": {**config["process"], "args": ["a", None]}}, "an entry of process.args"),
        (lambda config: {**config, "annotations": ""}, "annotations is str"),
    ],
)
def test_a_damaged_configuration_is_named(
    rl: Rootless, image: str, change: Callable[[dict[str, Any]], object], what: str
) -> None:
    path = container(rl, image) / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    said = refused(rl, "start", "c")
    assert f"reading {path}: it is damaged" in said
    assert what in said
    assert "remove it and make it anew" in said
    assert rl.inspect("c")["Name"] == "c"
    assert rl.out("ps", "-a", "--format", "{{.Names}}") == "c"
    rl("rm", "c")


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "it is empty"), (bytes(4096), "it is empty"), (b'{"a', "it is damaged: "), (b"{\xff", "it is damaged: ")],
)
def test_a_configuration_that_never_reached_the_disk_is_named(
    rl: Rootless, image: str, content: bytes, what: str
) -> None:
    path = container(rl, image) / "config.json"
    path.write_bytes(content)
    assert f"reading {path}: {what}" in refused(rl, "start", "c")
    assert rl.inspect("c")["State"]["Status"] == "created"
    assert what in rl("system", "check", check=False).stdout
    rl("rm", "c")
    rl("system", "check")


def test_exec_names_a_configuration_that_was_damaged_while_it_ran(rl: Rootless, image: str) -> None:
    path = rl.root / "containers" / rl.out("run", "-d", "--name", "c", *QUIET, image, "sleep", "60") / "config.json"
    path.write_text("{}")
    assert f"reading {path}: it is damaged: hostname is missing" in refused(rl, "exec", "c", "true")


def test_containers_that_cannot_be_removed_hold_up_no_command(fresh: Rootless, busybox: Path, tmp_path: Path) -> None:
    fresh("load", "-q", "-i", str(busybox))
    image = "busybox"
    bad = [fresh.out("create", "--name", name, *QUIET, image, "true") for name in ("one", "two")]
    fresh("create", "--name", "good", *QUIET, image, "true")
    with sqlite3.connect(fresh.root / "db.sqlite") as database:  # whose removal a killed process has begun
        database.execute("UPDATE containers SET state = 'removing' WHERE name <> 'good'")
    database.close()

    def hold_on() -> None:  # a mount of somebody else beneath: the kernel lets nobody remove that directory
        for identity in bad:
            place = str(fresh.root / "containers" / identity / "merged")
            mount(place, place, None, MS_BIND)

    host = OddHost(fresh, tmp_path / "host", prepare=hold_on)
    code, out, said = host("ps", "-a", "--format", "{{.Names}}")
    assert (code, out) == (0, "one\ntwo\ngood\n"), said
    assert said.count("Warning: ") == 1
    assert "cleaning up after one: " in said
    assert f"{bad[0]}/merged" in said
    assert "1 more" in said
    code, out, said = host("rm", "--all")
    assert code == 125
    assert fresh.out("ps", "-a", "--format", "{{.Names}}") == "", "another look, without that mount, goes on with it"


def test_a_log_that_is_gone_is_an_error(rl: Rootless, image: str) -> None:
    rl("run", "--name", "c", *QUIET, image, "echo", "out")
    path = Path(rl.inspect("c")["HostConfig"]["LogConfig"]["Path"])
    path.unlink()
    for words in ((), ("-f",)):
        said = refused(rl, "logs", *words, "c")
        assert f"reading the log {path}: No such file or directory" in said
        assert "something has removed it" in said
    path.mkdir()
    assert f"reading the log {path}: it is a directory" in refused(rl, "logs", "c")
    assert f"reading the log {path}: it is a directory" in refused(rl, "logs", "--tail", "3", "c")
    path.rmdir()
    rl("start", "-a", "c")
    assert rl.out("logs", "c") == "out"


def test_the_log_of_a_running_container_that_is_gone_is_an_error(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *QUIET, image, "sleep", "60")
    path = Path(rl.inspect("c")["HostConfig"]["LogConfig"]["Path"])
    path.unlink()
    for words in ((), ("-f",)):
        assert f"reading the log {path}: No such file or directory" in refused(rl, "logs", *words, "c")


def test_a_container_that_has_never_run_has_an_empty_log(rl: Rootless, image: str) -> None:
    container(rl, image)
    for words in ((), ("-f",)):
        done = rl("logs", *words, "c")
        assert (done.stdout, done.stderr) == ("", "")
    shutil.rmtree(rl.root / "containers" / rl.inspect("c")["Id"] / "merged")
    rl("create", "--name", "d", *QUIET, image, "/missing")
    assert rl("start", "d", check=False).returncode == 127
    assert rl.out("logs", "d") == ""


def test_without_its_run_directory_a_container_is_said_to_run_and_can_be_restarted(rl: Rootless, image: str) -> None:
    identity = rl.out("run", "-d", "--name", "c", *QUIET, image, "sh", "-c", "echo here; exec sleep 60")
    place = rl.runroot / "containers" / identity
    shutil.rmtree(place)
    for words in (("attach", "c"), ("logs", "-f", "c")):
        said = refused(rl, *words)
        assert f"it is running, but its socket {place}/attach.sock is gone" in said
        assert "rootless restart c" in said
    assert rl.out("logs", "c") == "here"
    rl("restart", "-t", "0", "c")
    assert (place / "attach.sock").is_socket()


@pytest.mark.parametrize("name", ["db.sqlite", "db.sqlite-wal"])
def test_what_of_the_database_cannot_be_written_is_named(fresh: Rootless, busybox: Path, name: str) -> None:
    fresh("load", "-q", "-i", str(busybox))
    path = fresh.root / name
    mode = path.stat().st_mode
    path.chmod(0o400)
    try:
        done = fresh("create", "--name", "c", *QUIET, "busybox", "true", check=False)
        assert done.returncode in (0, 125)
        if done.returncode:
            assert f"chmod u+rw {path}" in done.stderr
        if name == "db.sqlite":
            assert "writing the database" in done.stderr
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("options", [(), ("-v", "named:/srv/page")])
def test_a_volume_on_a_file_of_the_image_is_called_a_volume(
    fresh: Rootless, tmp_path: Path, options: tuple[str, ...]
) -> None:
    config: dict[str, object] = {"Env": ["PATH=/bin"], "Volumes": {"/srv/page": {}}}
    layers = [busybox_layer(), layer({"srv/page": b"a file\n"})]
    path = docker_archive(tmp_path / "odd.tar", layers, names=["docker.io/me/odd:1"], config=config)
    fresh("load", "-q", "-i", str(path))
    said = refused(fresh, "run", "--rm", *QUIET, *options, "docker.io/me/odd:1", "true")
    assert "/srv/page" in said
    assert "tmpfs" not in said
    assert os.listdir(fresh.root / "containers") == []
