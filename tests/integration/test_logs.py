"""`logs`: what was written, when, and as it comes."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.support.command import Rootless, wait_until


def make(rl: Rootless, image: str, script: str, *options: str) -> None:
    rl("run", "--name", "c", "--network", "none", *options, image, "sh", "-c", script)


def test_both_streams_are_kept_apart_and_whole(rl: Rootless, image: str) -> None:
    make(rl, image, "echo one; echo two >&2; printf 'no newline'")
    done = rl("logs", "c")
    assert (done.stdout, done.stderr) == ("one\nno newline", "two\n")


def test_long_output_without_newlines_is_kept_byte_for_byte(rl: Rootless, image: str) -> None:
    make(rl, image, "head -c 3000000 /dev/zero | tr '\\0' y; echo; printf end")
    assert rl("logs", "c").stdout == "y" * 3000000 + "\nend"


def test_a_long_log_comes_back_as_it_was_written(rl: Rootless, image: str) -> None:
    make(rl, image, "seq 1 300000; seq 1 99 >&2; seq 1 300000")
    done = rl("logs", "c")
    numbers = "".join(f"{number}\n" for number in range(1, 300001))
    assert done.stdout == numbers * 2
    assert done.stderr == numbers[: numbers.index("100\n")]
    stamped = rl.out("logs", "-t", "-n", "c").split("\n")
    assert [line.split(" ")[0] for line in stamped] == ["c"] * 600000
    assert [line.split(" ")[2] for line in stamped] == numbers.split() * 2


def test_tail(rl: Rootless, image: str) -> None:
    make(rl, image, "seq 1 5000; head -c 200000 /dev/zero | tr '\\0' z; echo; echo last")
    assert rl.out("logs", "--tail", "1", "c") == "last"
    assert rl.out("logs", "--tail", "3", "c").split("\n") == ["5000", "z" * 200000, "last"]
    assert rl.out("logs", "--tail", "0", "c") == ""
    assert len(rl.out("logs", "--tail", "99999", "c").split("\n")) == 5002


def test_time_stamps_and_times(rl: Rootless, image: str) -> None:
    make(rl, image, "echo early; sleep 1.2; echo late")
    lines = rl.out("logs", "-t", "c").split("\n")
    stamp = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (early|late)$")
    assert all(stamp.match(line) for line in lines)
    between = lines[0].split()[0]
    middle = re.sub(r"\.\d+Z", ".999999999Z", between)
    assert rl.out("logs", "--until", middle, "c") == "early"
    assert rl.out("logs", "--since", middle, "c") == "late"
    assert rl.out("logs", "--since", "1h", "c").split() == ["early", "late"]
    assert rl.out("logs", "--until", "1h", "c") == ""
    assert rl("logs", "--since", "whenever", "c", check=False).returncode == 125


def test_follow_prints_what_comes_and_ends_with_the_container(rl: Rootless, image: str) -> None:
    rl(
        "run",
        "-d",
        "--name",
        "c",
        "--network",
        "none",
        image,
        "sh",
        "-c",
        "echo a; until test -e /go; do sleep 0.05; done; echo b; sleep 0.3; echo c",
    )
    process = rl.popen("logs", "-f", "c")
    assert process.stdout is not None
    assert process.stdout.readline() == b"a\n", "while it runs"
    rl("exec", "c", "touch", "/go")
    assert process.stdout.read() == b"b\nc\n"
    assert process.wait(10) == 0


def test_follow_of_a_stopped_container_ends(rl: Rootless, image: str) -> None:
    make(rl, image, "echo x")
    assert rl.out("logs", "-f", "c", timeout=10) == "x"


def test_no_log(rl: Rootless, image: str) -> None:
    make(rl, image, "echo x", "--log-driver", "none")
    done = rl("logs", "c", check=False)
    assert done.returncode == 125
    assert "none" in done.stderr


def test_log_elsewhere(rl: Rootless, image: str, tmp_path: Path) -> None:
    make(rl, image, "echo x", "--log-opt", f"path={tmp_path}/here")
    assert (tmp_path / "here").read_bytes().endswith(b" stdout F x\n")
    assert rl.out("logs", "c") == "x"
    assert rl.inspect("c")["HostConfig"]["LogConfig"]["Path"] == f"{tmp_path}/here"


def test_a_number_behind_n_is_explained(rl: Rootless, image: str) -> None:
    make(rl, image, "echo x")
    number = "2" if rl.inspect("c")["Id"].startswith("1") else "1"
    done = rl("logs", "-n", number, "c", check=False)
    assert (done.returncode, done.stdout) == (125, "c x\n")
    assert done.stderr.endswith(f"hint: -n is --names here, as with Podman; for the last lines: --tail {number}\n")


def test_a_log_removed_underneath_harms_nobody(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sh", "-c", "while :; do echo x; sleep 0.05; done")
    log = Path(rl.inspect("c")["HostConfig"]["LogConfig"]["Path"])
    wait_until(log.exists)
    log.unlink()
    time.sleep(0.2)
    assert rl.status("c") == "running"
    assert "internal error" not in rl("logs", "c", check=False).stderr


def test_a_torn_log_line_is_passed_over(rl: Rootless, image: str) -> None:
    make(rl, image, "echo x")
    log = Path(rl.inspect("c")["HostConfig"]["LogConfig"]["Path"])
    with log.open("ab") as file:
        file.write(b"2024-01-0")
    assert rl.out("logs", "c") == "x"
