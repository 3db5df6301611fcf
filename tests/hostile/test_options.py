"""Options and environments that make no sense, or too much of it: HOSTILE.md 21 and 37."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import Rootless

NONE = ("--network", "none")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        # limits that are none
        (["--memory", "-1"], "--memory"),
        (["--cpus", "0.0001"], "--cpus"),
        (["--pids-limit", "-7"], "--pids-limit"),
        (["--ulimit", "fly=1"], "fly"),
        (["--ulimit", "nofile=2:1"], "nofile=2:1"),
        (["--ulimit", "nofile=99999999999999999999"], "nofile"),
        (["--ulimit", "host", "--ulimit", "nofile=1"], "contradicts"),
        (["--oom-score-adj", "1001"], "1001"),
        (["--oom-score-adj", "x"], "--oom-score-adj"),
        (["--shm-size", "-1"], "-1"),
        (["--stop-timeout", "-5"], "--stop-timeout"),
        # ports
        (["-p", "99999"], "99999"),
        (["-p", "0:80"], "0"),
        (["-p", "80:80", "-p", "80:80"], "80"),
        (["-p", "8080:80", "-p", "8080:81"], "8080"),
        (["-p", "8080-8082:80-81"], "8080-8082"),
        (["-p", "300.1.1.1:80:80"], "300.1.1.1"),
        (["--expose", "99999"], "99999"),
        # names
        (["--name", "a/b"], "a/b"),
        (["--name", "../../etc"], "../../etc"),
        (["--name", ""], "name"),
        (["--name", "a\nb"], "name"),
        (["--name", "-x"], "-x"),
        (["--hostname", "a b"], "a b"),
        (["--hostname", "../x"], "../x"),
        (["--secret", "../x"], "../x"),
        (["--secret", "x,target=/a/../../b"], "target"),
        (["--device", "/dev/../etc/passwd"], "passwd"),
        (["--tz", "/etc/passwd"], "/etc/passwd"),
        (["--group-add", "a:b"], "a:b"),
        (["--group-add", ""], "group"),
        (["--group-add", "99999999999"], "99999999999"),
        (["--sysctl", "kernel.panic=1"], "kernel.panic"),
        (["--sysctl", "net.ipv4.ip_forward"], "ip_forward"),
        (["--sysctl", "net.no.such=1"], "net.no.such"),
        (["--sysctl", "net/../kernel/panic=1"], "net"),
        (["--umask", "999"], "999"),
        (["--umask", "77777"], "77777"),
        (["--personality", "WINDOWS"], "WINDOWS"),
        (["--annotation", "novalue"], "novalue"),
        (["--annotation", "org.rootless.seccomp=unconfined"], "org.rootless"),
        (["--passwd-entry", "a\nroot2:x:0:0::/:/bin/sh"], "--passwd-entry"),
        (["--env", "=x"], "=x"),
        (["--env-merge", "A=${B"], "brace"),
        (["--label-file", "/no/such/file"], "/no/such/file"),
        (["--device-cgroup-rule", "c 1:3 r"], "not supported"),
        (["--shm-size-systemd", "1m"], "not supported"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--ipc", "container:nobody"], "container:nobody"),
        (["--uts", "nobody"], "nobody"),
        # what contradicts itself
        (["--rm", "--restart", "always"], "--restart"),
        (["--uts", "host", "--hostname", "x"], "--hostname"),
        (["--uts", "host", "--domainname", "x"], "--domainname"),
        (["--ipc", "host", "--shm-size", "1m"], "--shm-size"),
        (["--ipc", "host", "--sysctl", "kernel.shmmax=1"], "kernel.shmmax"),
        (["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], "net.ipv4.ip_forward"),
        (["--network", "host", "-p", "80:80"], "publish"),
        (["--no-hosts", "--add-host", "a:192.0.2.1"], "--no-hosts"),
        (["--passwd=false", "--hostuser", "root"], "--passwd"),
        (["--group-add", "keep-groups,5"], "keep-groups"),
    ],
)
def test_options_that_make_no_sense_change_nothing(rl: Rootless, image: str, options: list[str], said: str) -> None:
    network = () if "--network" in options or "-p" in options or "--expose" in options else NONE
    done = rl("run", *network, *options, image, "true", check=False)
    left = rl.out("ps", "-aq")
    if left:
        rl("rm", "-f", "-a", "-t", "0")
    assert done.returncode == 125, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert left == "" or "net.no.such" in options[-1]  # only the kernel knows what settings there are


LONG = "x" * (128 * 1024 - 10)  # a word may have 128 KiB with its end


@pytest.mark.parametrize(
    "value",
    [
        b"two\nlines",
        b"a=b==c",
        b"",
        b" blanks  stay ",
        b"$(touch /tmp/no) `id` ; | & > < ' \" \\",
        b"\xff\xfe invalid \x80 utf-8",
        "\u00fcml\u00e4ut \U0001f600".encode(),
        b"\x1b[31m\x07\r\t",
        LONG.encode(),
    ],
)
def test_values_and_arguments_pass_unharmed(rl: Rootless, image: str, value: bytes) -> None:
    text = os.fsdecode(value)
    script = (
        "printf %s \"$VALUE\" | od -An -v -tx1 | tr -d ' \\n'; echo; printf %s \"$1\" | od -An -v -tx1 | tr -d ' \\n'"
    )
    # Twice the longest word does not fit beside each other in one line of the script's own making, but in execve.
    done = rl("run", "--rm", *NONE, "-e", f"VALUE={text}", image, "sh", "-c", script, "sh", text)
    assert done.stdout.split("\n")[:2] == [value.hex(), value.hex()]


def test_values_pass_through_files_create_start_and_exec(rl: Rootless, image: str, tmp_path: Path) -> None:
    lines = tmp_path / "env"
    lines.write_bytes(b"A=1=2\nB=\xff\xfe\n#C=no\n  D= d \n")
    rl("create", "--name", "c", *NONE, "--env-file", str(lines), "-e", "N=a\nb", image, "sleep", "60")
    rl("start", "c")
    script = 'printf "%s|" "$A" "$B" "$C" "$D" "$N" | od -An -v -tx1 | tr -d " \\n"'
    expected = b"1=2|\xff\xfe|| d |a\nb|".hex()
    assert rl.out("exec", "c", "sh", "-c", script) == expected
    assert rl.inspect("c")["Config"]["Env"]
    rl("rm", "-f", "-t", "0", "c")


def test_a_value_that_the_kernel_does_not_take_is_told(rl: Rootless, image: str, tmp_path: Path) -> None:
    lines = tmp_path / "env"
    lines.write_text(f"A={'x' * (200 << 10)}\n")
    done = rl("run", "--rm", *NONE, "--env-file", str(lines), image, "true", check=False)
    assert done.returncode in (125, 126), done
    assert "internal error" not in done.stderr
    assert "long" in done.stderr
    lines.write_bytes(b"A=a\0b\n")
    done = rl("run", "--rm", *NONE, "--env-file", str(lines), image, "true", check=False)
    assert done.returncode == 125
    assert "NUL" in done.stderr
