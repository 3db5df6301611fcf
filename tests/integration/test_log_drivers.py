"""Where output is kept: Docker's files, the journal, the command's own streams; logs that are begun anew at a size."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless.engine.logs.journal import JournalSource
from rootless.engine.logs.voice import Choice
from tests.support.command import Rootless, executable, wait_until


def run(rl: Rootless, image: str, script: str, *options: str, name: str = "c") -> subprocess.CompletedProcess[str]:
    return rl("run", "--name", name, "--network", "none", *options, image, "sh", "-c", script)


def log_of(rl: Rootless, name: str = "c") -> Path:
    return Path(rl.inspect(name)["HostConfig"]["LogConfig"]["Path"])


def test_json_file_is_dockers(rl: Rootless, image: str) -> None:
    run(rl, image, "echo one; echo two >&2; printf 'a\\\\nb \"c\"'", "--log-driver", "json-file")
    lines = [json.loads(line) for line in log_of(rl).read_text().splitlines()]
    assert sorted((line["stream"], line["log"]) for line in lines) == [
        ("stderr", "two\n"),
        ("stdout", 'a\\nb "c"'),
        ("stdout", "one\n"),
    ]
    assert all(set(line) == {"log", "stream", "time"} for line in lines)
    done = rl("logs", "c")
    assert (done.stdout, done.stderr) == ('one\na\\nb "c"', "two\n")
    assert rl.inspect("c")["HostConfig"]["LogConfig"]["Type"] == "json-file"


def test_json_lines_have_the_tag_and_what_was_chosen(rl: Rootless, image: str) -> None:
    run(
        rl,
        image,
        "echo x",
        *("--log-driver", "json-file", "--log-opt", "tag={{.Name}}/{{.ID}}"),
        *("--log-opt", "labels=a,b", "--log-opt", "env=E", "--label", "a=1", "--label", "c=3", "--env", "E=f"),
    )
    (line,) = log_of(rl).read_text().splitlines()
    number = rl.inspect("c")["Id"][:12]
    assert json.loads(line)["attrs"] == {"tag": f"c/{number}", "a": "1", "E": "f"}


@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
def test_a_log_begun_anew_loses_nothing(rl: Rootless, image: str, driver: str) -> None:
    options = ("--log-driver", driver, "--log-opt", "max-size=300k", "--log-opt", "max-file=90")
    run(rl, image, "seq 1 60000; head -c 200000 /dev/urandom; echo; seq 1 60000", *options)
    path = log_of(rl)
    assert len(list(path.parent.glob(path.name + "*"))) > 10
    assert all(file.stat().st_size <= 300_000 for file in path.parent.glob(path.name + "*"))
    done = subprocess.run([executable(), "logs", "c"], env=rl.environment, stdout=subprocess.PIPE, check=True)
    numbers = "".join(f"{number}\n" for number in range(1, 60001)).encode()
    assert done.stdout.startswith(numbers)
    assert done.stdout.endswith(b"\n" + numbers)
    assert len(done.stdout) == 2 * len(numbers) + 200_001
    assert rl.out("logs", "--tail", "59000", "c").split("\n") == [str(number) for number in range(1001, 60001)]
    config = rl.inspect("c")["HostConfig"]["LogConfig"]
    assert (config["Type"], config["Size"]) == (driver, "300kB")


def test_follow_goes_on_in_the_next_file(rl: Rootless, image: str) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); [ $((i % 100)) -ne 0 ] || sleep 0.01; done"
    options = ("-d", "--log-opt", "max-size=2k", "--log-opt", "max-file=50")
    run(rl, image, "sleep 0.3; " + script, *options)
    process = rl.popen("logs", "-f", "c")
    out, _ = process.communicate(timeout=60)
    assert out.decode().split() == [str(number) for number in range(3000)]
    rl("rm", "-f", "c")


def test_follow_goes_on_where_the_old_file_is_thrown_away(rl: Rootless, image: str) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.1; done"
    run(rl, image, script, "-d", "--log-opt", "max-size=100", "--log-opt", "max-file=1")
    process = rl.popen("logs", "-f", "c")
    out, _ = process.communicate(timeout=60)
    assert out.split()[-3:] == [b"7", b"8", b"9"]
    assert rl.out("logs", "c").split()[-1] == "9"


def test_follow_has_all_of_a_container_that_is_removed_at_its_end(rl: Rootless, image: str) -> None:
    for _ in range(5):
        rl(
            *("run", "-d", "--rm", "--name", "c", "--network", "none"),
            *("--log-opt", "max-size=1k", "--log-opt", "max-file=100"),
            *(image, "sh", "-c", "read x < /dev/null; sleep 0.5; seq 1 999"),
        )
        process = rl.popen("logs", "-f", "c")
        out, _ = process.communicate(timeout=60)
        assert out.decode().split() == [str(number) for number in range(1, 1000)]
        wait_until(lambda: rl("container", "exists", "c", check=False).returncode == 1)


# So much is kept that no follower is left behind.
KEPT = ("--log-opt", "max-size=100k", "--log-opt", "max-file=500")


def test_follow_has_all_of_a_container_that_is_removed_by_force(rl: Rootless, image: str) -> None:
    run(rl, image, "i=0; while :; do echo $i; i=$((i+1)); done", "-d", *KEPT)
    process = rl.popen("logs", "-f", "--tail", "1", "c")
    assert process.stdout is not None
    first = int(process.stdout.readline())
    rl("rm", "-f", "-t", "0", "c")
    out = process.stdout.read()
    process.communicate(timeout=60)
    assert process.returncode == 0
    rest = out.decode().split("\n")[:-1]
    assert rest == [str(number) for number in range(first + 1, first + 1 + len(rest))]


def test_a_log_goes_on_over_starts(rl: Rootless, image: str) -> None:
    run(rl, image, "echo x", "--log-opt", "max-size=100", "--log-opt", "max-file=9")
    for _ in range(4):
        rl("start", "-a", "c")
    assert rl.out("logs", "c").split() == ["x"] * 5


def test_several_are_put_in_the_order_of_time(rl: Rootless, image: str) -> None:
    for name in ("a", "b"):
        run(rl, image, "while :; do echo $0; sleep 0.02; done; :", "-d", name=name)
    wait_until(lambda: len(rl.out("logs", "b").split("\n")) > 20)
    rl("kill", "a", "b")
    done = rl.out("logs", "-t", "--names", "a", "b").split("\n")
    times = [line.split()[1] for line in done]
    assert times == sorted(times)
    assert {line.split()[0] for line in done} == {"a", "b"}
    identity = rl.inspect("a")["Id"][:12]
    assert any(line.startswith(identity + " ") for line in rl.out("logs", "a", "b").split("\n"))


def test_several_are_followed_and_lines_stay_whole(rl: Rootless, image: str) -> None:
    for name in ("a", "b"):
        run(rl, image, f"for i in 1 2 3; do printf {name}; sleep 0.1; echo {name}$i; done", "-d", name=name)
    process = rl.popen("logs", "-f", "-n", "a", "b")
    out, _ = process.communicate(timeout=60)
    assert sorted(out.decode().split("\n")) == ["", "a aa1", "a aa2", "a aa3", "b bb1", "b bb2", "b bb3"]


def test_colours(rl: Rootless, image: str) -> None:
    for name in ("a", "b"):
        run(rl, image, "echo 1; printf 2", name=name)
    out = rl.out("logs", "--color", "-n", "a", "b").split("\n")
    assert sorted(out) == sorted(f"\x1b[{n}m{name} {i}\x1b[0m" for n, name in ((37, "a"), (31, "b")) for i in "12")


def test_one_that_is_not_there_does_not_keep_the_others(rl: Rootless, image: str) -> None:
    run(rl, image, "echo x")
    done = rl("logs", "-n", "nobody", "c", check=False)
    assert (done.returncode, done.stdout) == (125, "c x\n")
    assert "nobody" in done.stderr


def test_until_ends_what_is_followed(rl: Rootless, image: str) -> None:
    run(rl, image, "echo x; sleep 100", "-d")
    started = time.time()
    done = rl("logs", "-f", "--until", str(started + 0.5), "c", timeout=20)
    assert done.stdout == "x\n"
    assert time.time() - started < 10


def test_passthrough(rl: Rootless, image: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["run", "-d", "--name", "c", "--network", "none", "--log-driver", "passthrough", image, "sh", "-c"]
    script = "read line; echo $line; echo error >&2; sleep 1"
    with out.open("wb") as file:
        subprocess.run(
            [executable(), *words, script], env=rl.environment, input=b"typed\n", stdout=file, stderr=file, check=True
        )
        done = rl("attach", "c", check=False)
        assert done.returncode == 125
        assert "--log-driver passthrough" in done.stderr
        rl("wait", "c")
    assert {"error", "typed"} < set(out.read_text().split("\n"))  # and the id that the command has printed
    done = rl("logs", "c", check=False)
    assert done.returncode == 125
    assert "--log-driver passthrough" in done.stderr
    done = rl("start", "-a", "c", stdin=subprocess.DEVNULL)
    assert done.stderr == "error\n"


def test_passthrough_is_refused_a_terminal(rl: Rootless, image: str) -> None:
    words = f"{executable()} run --rm --network none --log-driver"
    for driver, expected in (("passthrough", "passthrough-tty if you trust it"), ("passthrough-tty", "a terminal")):
        command = f"{words} {driver} {image} sh -c '[ -t 0 ] && echo a terminal'"
        done = subprocess.run(
            ["script", "-qec", command, "/dev/null"],
            env=rl.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        assert expected in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--log-driver", "syslog"], "k8s-file json-file journald passthrough"),
        (["--log-opt", "tag=x"], "k8s-file has: path= max-size= max-file="),
        (["--log-opt", "max-size=big"], "10mb"),
        (["--log-opt", "max-size=0"], "10mb"),
        (["--log-opt", "max-size=nan"], "10mb"),
        (["--log-opt", "max-size"], "not supported"),
        (["--log-opt", "max-file=3"], "max-size"),
        (["--log-opt", "max-size=1m", "--log-opt", "max-file=0"], "1 to 500"),
        (["--log-opt", "path=here"], "absolute"),
        (["--log-opt", "mode=non-blocking"], "not supported"),
        (["--log-driver", "none", "--log-opt", "max-size=1m"], "none has no options"),
        (["--log-driver", "json-file", "--log-opt", "tag={{.Nobody}}"], "{{.Name}}"),
        (["--log-driver", "json-file", "--log-opt", "tag={{"], "{{.Name}}"),
        (["--log-driver", "passthrough", "-t"], "terminal"),
        (["--log-driver", "passthrough", "--restart", "always"], "leave out --restart"),
    ],
)
def test_what_there_is_not_is_refused(rl: Rootless, image: str, options: list[str], words: str) -> None:
    done = rl("create", "--name", "c", *options, image, "true", check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 125
    assert words in " ".join(done.stderr.split())
    assert rl("container", "exists", "c", check=False).returncode == 1


# The journal


class FakeJournal:
    """A socket that takes what journald would take, and a journalctl that gives it back."""

    def __init__(self, place: Path) -> None:
        self.path = place / "socket"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(str(self.path))
        self.socket.settimeout(10)

    def receive(self) -> dict[str, bytes]:
        """The fields of the next entry."""
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, 64)
        for _, _, rights in ancillary:
            (fd,) = array.array("i", rights[:4])
            data = os.pread(fd, 1 << 24, 0)
            os.close(fd)
        fields = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                size = int.from_bytes(data[:8], "little")
                value, data = data[8 : 8 + size], data[8 + size + 1 :]
            fields[name.decode()] = value
        return fields


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rl: Rootless) -> Iterator[FakeJournal]:
    fake = FakeJournal(tmp_path)
    monkeypatch.setitem(rl.environment, "ROOTLESS_TEST_JOURNAL", str(fake.path))
    yield fake
    fake.socket.close()


@pytest.mark.parametrize("detached", [True, False])
def test_journal_entries_have_podmans_fields(rl: Rootless, image: str, journal: FakeJournal, detached: bool) -> None:
    options = ["--log-driver", "journald", "--log-opt", "tag={{.ImageName}}", *(["-d"] if detached else [])]
    run(rl, image, "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf part", *options)
    rl("wait", "c")
    identity = rl.inspect("c")["Id"]
    first, second, third = (journal.receive() for _ in range(3))
    assert first == {
        "MESSAGE": b"one",
        "PRIORITY": b"6",
        "CONTAINER_ID": identity[:12].encode(),
        "CONTAINER_ID_FULL": identity.encode(),
        "CONTAINER_NAME": b"c",
        "CONTAINER_TAG": image.encode(),
        "SYSLOG_IDENTIFIER": image.encode(),
        "IMAGE_NAME": image.encode(),
    }
    assert (second["MESSAGE"], second["PRIORITY"]) == (b"two", b"3")
    assert (third["MESSAGE"], third["CONTAINER_PARTIAL_MESSAGE"]) == (b"part", b"true")
    config = rl.inspect("c")["HostConfig"]["LogConfig"]
    assert (config["Type"], config["Path"], config["Tag"]) == ("journald", "", "{{.ImageName}}")


def test_a_journal_that_takes_nothing_holds_up_nobody(rl: Rootless, image: str, journal: FakeJournal) -> None:
    started = time.monotonic()
    out = run(rl, image, "seq 1 20000", "--log-driver", "journald").stdout
    assert out.endswith("20000\n")
    assert time.monotonic() - started < 30


def test_a_journal_that_goes_away_harms_nobody(rl: Rootless, image: str, journal: FakeJournal) -> None:
    run(rl, image, "echo 1; read x < /dev/zero; :", "-d", "--log-driver", "journald")
    assert journal.receive()["MESSAGE"] == b"1"
    journal.path.unlink()
    rl("exec", "c", "sh", "-c", "echo 2 > /proc/1/fd/1")
    assert rl.status("c") == "running"


def test_without_a_journal(rl: Rootless, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rl.environment, "ROOTLESS_TEST_JOURNAL", str(tmp_path / "none"))
    done = rl("run", "--rm", "--network", "none", "--log-driver", "journald", image, "true", check=False)
    assert done.returncode == 125
    assert "no journal listens here" in done.stderr
    assert "k8s-file" in done.stderr


def test_journalctl_is_read(
    rl: Rootless, image: str, journal: FakeJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in prints journald's export format; the real one is asked in the virtual machine."""
    run(rl, image, "true", "--log-driver", "journald")
    export = tmp_path / "export"
    export.write_bytes(
        b"__REALTIME_TIMESTAMP=1700000000123456\nPRIORITY=6\nMESSAGE=one\n\n"
        b"__REALTIME_TIMESTAMP=1700000001123456\nPRIORITY=3\nMESSAGE\n\5\0\0\0\0\0\0\0a\n\n\xff\n\n\n"
        b"__REALTIME_TIMESTAMP=1700000002123456\nPRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=part\n\n"
    )
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat {export}\n')
    program.chmod(0o755)
    monkeypatch.setitem(rl.environment, "PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = subprocess.run([executable(), "logs", "-t", "c"], env=rl.environment, capture_output=True, check=True)
    assert done.stdout == b"2023-11-14T22:13:20.123456000Z one\n2023-11-14T22:13:22.123456000Z part"
    assert done.stderr.startswith(b"2023-11-14T22:13:21.123456000Z a\n")
    assert f"CONTAINER_ID_FULL={rl.inspect('c')['Id']}" in (tmp_path / "words").read_text()
    program.write_text("#!/bin/sh\necho 'No journal files were opened' >&2; exit 1\n")
    done = subprocess.run([executable(), "logs", "c"], env=rl.environment, capture_output=True, check=False)
    assert done.returncode == 125
    assert b"No journal files were opened" in done.stderr


def test_follow_goes_on_over_a_restart_policy(rl: Rootless, image: str) -> None:
    run(rl, image, "echo x; sleep 0.3; exit 1", "-d", "--restart", "on-failure:2", "--log-opt", "max-size=100")
    process = rl.popen("logs", "-f", "c")
    out, _ = process.communicate(timeout=60)
    assert out == b"x\nx\nx\n"
    assert rl.out("logs", "c").split() == ["x"] * 3


def test_the_last_lines_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are counted, not entries: a long line is several. The stand-in for journalctl knows its options."""
    pieces = [
        ("a", 6, 0),
        ("b1", 6, 1),
        ("e1", 3, 1),
        ("b2", 6, 0),
        ("e2", 3, 0),
        ("c", 6, 0),
        ("d1", 6, 1),
        ("d2", 6, 1),
    ]
    script = f"""#!{sys.executable}
import sys
entries = [
    f"__CURSOR={{n}}\\n__REALTIME_TIMESTAMP={{n}}\\nMESSAGE={{m}}\\nPRIORITY={{p}}\\n"
    + "CONTAINER_PARTIAL_MESSAGE=true\\n" * partial
    for n, (m, p, partial) in enumerate({pieces!r})
]
after = [int(word.partition("=")[2]) + 1 for word in sys.argv if word.startswith("--after-cursor=")]
entries = entries[after[0] if after else 0 :]
print("\\n".join(entries[::-1] if "--reverse" in sys.argv else entries))
"""
    program = tmp_path / "journalctl"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def last(count: int) -> list[str]:
        source = JournalSource("x", Choice(tail=count), None)
        found = []
        while (some := source.more()) is not None:
            found += [entry.data.decode() for entry in some]
        source.close()
        return found

    everything = [piece for piece, _, _ in pieces]
    assert last(-1) == everything
    assert last(1) == ["d1", "d2"]
    assert last(2) == ["c", "d1", "d2"]
    assert last(3)[-4:] == ["e2", "c", "d1", "d2"]
    assert last(9) == everything
