"""`top`: the processes of a container, numbered and named as it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.fixture
def busy(rl: Rootless, image: str) -> Rootless:
    """A container `c` whose pid 1 waits for a child."""
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", "sleep 987 & wait")
    wait_until(lambda: "sleep 987" in rl.out("top", "c", "args"))
    return rl


def test_the_usual_columns(busy: Rootless) -> None:
    heading, first, second = rows(busy.out("top", "c"))
    assert heading == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert first[:3] == ["root", "1", "0"]
    assert second[0] == "root"
    assert second[2] == "1"
    assert second[-2:] == ["sleep", "987"]


def test_columns_by_name_and_by_code(busy: Rootless) -> None:
    heading, first, _ = rows(busy.out("container", "top", "c", "hpid,huid", "%p", "capinh", "state"))
    assert heading == ["HPID", "HUID", "PID", "INHERITED", "CAPS", "STATE"]
    assert first == [str(busy.inspect("c")["State"]["Pid"]), str(os.getuid()), "1", "none", "S"]


def test_a_user_is_named_by_the_containers_own_file(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", "--user", "7:8", image, "sleep", "60")
    assert rows(rl.out("top", "c", "user", "group", "uid"))[1] == ["7", "8", "7"]
    rl(
        "exec",
        "--user",
        "0",
        "c",
        "sh",
        "-c",
        "echo seven:x:7:8::/:/bin/sh > /etc/passwd; echo eight:x:8: > /etc/group",
    )
    assert rows(rl.out("top", "c", "user", "group", "uid"))[1] == ["seven", "eight", "7"]


def test_the_containers_files_lead_nowhere_else(rl: Rootless, image: str, tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text("fooled:x:0:0::/:/bin/sh\n")
    script = f"rm -f /etc/passwd /etc/group; ln -s {passwd} /etc/passwd; mkfifo /etc/group; sleep 60"
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", script)
    wait_until(lambda: "sleep" in rl.out("top", "c", "args"))
    assert rows(rl.out("top", "c", "user", "group", timeout=10))[1] == ["0", "0"]


def test_an_execed_process_and_a_terminal_are_shown(busy: Rootless) -> None:
    busy("exec", "-d", "-t", "c", "sleep", "654")
    found = [row for row in rows(busy.out("top", "-l", "ppid", "tty", "args")) if row[-1] == "654"]
    assert found == [["0", "pts/0", "sleep", "654"]]


def test_options_of_ps_are_given_to_the_ps_inside(busy: Rootless) -> None:
    heading, *others = rows(busy.out("top", "c", "-o", "pid,comm"))
    assert heading == ["PID", "COMMAND"]
    assert ["1", "sh"] in others


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("c", "nonsense"), 125, "no column 'nonsense'"),
        ((), 125, "no container is named"),
        (("nobody",), 125, 'no container with name or ID "nobody"'),
    ],
)
def test_what_makes_no_sense_is_refused(busy: Rootless, words: tuple[str, ...], code: int, told: str) -> None:
    done = busy("top", *words, check=False)
    assert done.returncode == code
    assert told in done.stderr


def test_a_container_that_does_not_run_has_no_processes(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", image, "true")
    done = rl("top", "c", check=False)
    assert done.returncode == 125
    assert "does not run" in done.stderr
