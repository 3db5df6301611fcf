"""`run`: what a container's process gets, and what its caller gets back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Rootless, executable, wait_until


def run(rl: Rootless, *args: str, **more: object) -> str:
    return rl.out("run", "--rm", "--network", "none", *args, **more)


# Exit codes


@pytest.mark.parametrize(("script", "code"), [("true", 0), ("exit 3", 3), ("exit 255", 255)])
def test_exit_code_is_the_containers(rl: Rootless, image: str, script: str, code: int) -> None:
    done = rl("run", "--rm", "--network", "none", image, "sh", "-c", script, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_an_option_behind_the_image_is_explained(rl: Rootless, image: str) -> None:
    done = rl("run", "--rm", "--network", "none", image, "-it", "sh", check=False)
    assert done.returncode == 127
    assert done.stderr.endswith("hint: options come before the image or the container\n")


def test_missing_command_is_127_and_named(rl: Rootless, image: str) -> None:
    done = rl("run", "--rm", "--network", "none", image, "no-such-command", check=False)
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    assert rl.out("ps", "-aq") == ""


def test_command_that_cannot_be_executed_is_126(rl: Rootless, image: str) -> None:
    done = rl("run", "--rm", "--network", "none", image, "/etc/not-executable", check=False)
    assert done.returncode == 126
    assert "/etc/not-executable" in done.stderr


def test_death_by_signal_is_128_and_its_number(rl: Rootless, image: str) -> None:
    # Pid 1 does not die of a signal of its own namespace, so a child is killed and its status passed on.
    done = rl("run", "--rm", "--network", "none", image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?", check=False)
    assert done.returncode == 137


def test_container_that_failed_to_start_stays_and_tells_why(rl: Rootless, image: str) -> None:
    done = rl("run", "--name", "failed", "--network", "none", image, "no-such-command", check=False)
    assert done.returncode == 127
    state = rl.inspect("failed")["State"]
    assert state["Status"] == "created"
    assert "no-such-command" in state["Error"]
    assert state["ExitCode"] == 127


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_reach_the_container(rl: Rootless, image: str, number: signal.Signals) -> None:
    name = number.name[3:]
    script = f"trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    process = rl.popen("run", "--rm", "--network", "none", image, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.stdout.read() == f"got {name}\n".encode()
    assert process.wait(10) == 7


def test_without_sig_proxy_a_signal_ends_the_container_with_its_monitor(rl: Rootless, image: str) -> None:
    process = rl.popen("run", "--rm", "--sig-proxy=false", "--network", "none", image, "sh", "-c", "echo up; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 137, "its program saw no signal: it was killed, and recorded as such"
    assert rl.out("ps", "-aq") == ""


# Options


def test_user_directory_environment_and_entry_point(rl: Rootless, image: str) -> None:
    assert run(rl, "-u", "alice", image, "id", "-un") == "alice"
    assert run(rl, "-u", "1000:10", image, "sh", "-c", "id -u; id -g").split() == ["1000", "10"]
    assert run(rl, "-w", "/etc", image, "pwd") == "/etc"
    assert run(rl, "-e", "A=b c", "-e", "EMPTY=", image, "sh", "-c", "echo $A/$EMPTY/") == "b c//"
    assert run(rl, "-e", "FROM_HERE", image, "sh", "-c", "echo $FROM_HERE", env={"FROM_HERE": "x"}) == "x"
    assert run(rl, "--entrypoint", "echo", image, "a", "b") == "a b"
    assert run(rl, "--entrypoint", '["echo", "first"]', image, "second") == "first second"
    assert run(rl, "--hostname", "box", image, "hostname") == "box"


def test_environment_and_arguments_pass_unharmed(rl: Rootless, image: str) -> None:
    awkward = "a\nb=c d\"'$x\\"
    big = "y" * 100_000
    assert run(rl, "-e", f"V={awkward}", image, "sh", "-c", 'printf %s "$V"') == awkward
    assert run(rl, image, "printf", "%s|", awkward, "", "-x") == f"{awkward}||-x|"
    assert run(rl, image, "echo", big) == big
    done = subprocess.run(
        [executable().encode(), b"run", b"--rm", b"--network", b"none", image.encode(), b"printf", b"%s", b"\xff\xfe"],
        env=rl.environment,
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (0, b"\xff\xfe")


def test_env_file(rl: Rootless, image: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\n\nONE=1\nTWO=a=b\n")
    assert run(rl, "--env-file", str(tmp_path / "env"), image, "sh", "-c", "echo $ONE $TWO") == "1 a=b"


def test_own_namespaces(rl: Rootless, image: str) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    inside = run(rl, image, "sh", "-c", f"for kind in {' '.join(kinds)}; do readlink /proc/self/ns/$kind; done").split()
    assert len(inside) == len(kinds)
    for kind, namespace in zip(kinds, inside, strict=True):
        assert os.readlink(f"/proc/self/ns/{kind}") != namespace
    assert run(rl, image, "sh", "-c", "echo $$") == "1"


def test_nothing_but_the_three_streams_is_open(rl: Rootless, image: str, tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    listed = run(rl, image, "sh", "-c", "exec ls /proc/self/fd", close_fds=False)
    os.close(secret)
    assert listed.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


def test_read_only_root_has_writable_tmp(rl: Rootless, image: str) -> None:
    done = rl(
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        image,
        "sh",
        "-c",
        "echo x > /tmp/x && echo x > /x",
        check=False,
    )
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_tmpfs_and_its_options(rl: Rootless, image: str) -> None:
    mounts = run(rl, "--tmpfs", "/scratch:size=1m,noexec,mode=700", image, "cat", "/proc/mounts")
    line = next(line for line in mounts.splitlines() if " /scratch " in line)
    assert "size=1024k" in line
    assert "noexec" in line


def test_bind_mounts(rl: Rootless, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    assert run(rl, "-v", f"{tmp_path}:/data:ro", image, "cat", "/data/file") == "from the host"
    done = rl(
        "run", "--rm", "--network", "none", "-v", f"{tmp_path}:/data:ro", image, "touch", "/data/new", check=False
    )
    assert done.returncode == 1
    run(rl, "--mount", f"type=bind,source={tmp_path},target=/data", image, "sh", "-c", "echo in > /data/new")
    assert (tmp_path / "new").read_text() == "in\n"


def test_named_volume_is_filled_from_the_image_once_and_keeps_what_is_written(rl: Rootless, image: str) -> None:
    run(rl, "-v", "kept:/home", image, "sh", "-c", "test -d /home/alice && rmdir /home/alice && echo mine > /home/f")
    assert run(rl, "-v", "kept:/home", image, "ls", "/home") == "f"
    assert run(rl, "-v", "kept:/other", image, "cat", "/other/f") == "mine"


def test_limits(rl: Rootless, image: str) -> None:
    assert run(rl, "--ulimit", "nofile=123:456", image, "sh", "-c", "ulimit -n; ulimit -Hn").split() == ["123", "456"]


def test_capabilities(rl: Rootless, image: str) -> None:
    def effective(*options: str) -> int:
        return int(run(rl, *options, image, "sed", "-n", "s/^CapEff:.//p", "/proc/self/status"), 16)

    assert effective("--cap-drop", "all") == 0
    assert effective("--cap-drop", "all", "--cap-add", "net_raw,CAP_KILL") == 1 << 13 | 1 << 5
    assert effective() & (1 << 21) == 0
    assert effective("--privileged") & (1 << 21)


def test_network_host_shares_the_hosts_interfaces(rl: Rootless, image: str) -> None:
    inside = rl.out("run", "--rm", "--network", "host", image, "readlink", "/proc/self/ns/net")
    assert inside == os.readlink("/proc/self/ns/net")


def test_cidfile(rl: Rootless, image: str, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    rl("run", "--name", "with-cid", "--cidfile", str(path), "--network", "none", image, "true")
    assert path.read_text() == rl.inspect("with-cid")["Id"]
    done = rl("run", "--rm", "--cidfile", str(path), "--network", "none", image, "true", check=False)
    assert done.returncode == 125
    assert str(path) in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-v", "/no/such/place:/x"], "/no/such/place"),
        (["-v", "a b:/x"], "a b"),
        (["-v", "vol:relative"], "relative"),
        (["-w", "relative"], "relative"),
        (["--name", "a/b"], "a/b"),
        (["--network", "nonsense"], "nonsense"),
        (["-p", "80:99999"], "99999"),
        (["-p", "8080:80", "-p", "8080:81"], "8080"),
        (["--cap-add", "fly"], "fly"),
        (["--ulimit", "nofile"], "nofile"),
        (["--stop-signal", "SIGNOTHING"], "SIGNOTHING"),
        (["--security-opt", "seccomp=/no/such/file"], "/no/such/file"),
        (["--env-file", "/no/such/file"], "/no/such/file"),
        (["-u", "nobody-of-that-name"], "nobody-of-that-name"),
        (["--hostname", "a" * 65], "a" * 65),
        (["--log-driver", "pigeon"], "pigeon"),
        (["--shm-size", "lots"], "lots"),
        (["--tmpfs", "/"], "root"),
        (["--add-host", "nothing"], "nothing"),
        (["--dns", "nothing"], "nothing"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(rl: Rootless, image: str, options: list[str], said: str) -> None:
    done = rl("run", "--rm", *options, image, "true", check=False)
    assert done.returncode == 125, done
    assert said in done.stderr
    assert "internal error" not in done.stderr
    assert rl.out("ps", "-aq") == ""


def test_unknown_image_is_refused(rl: Rootless) -> None:
    done = rl("run", "--rm", "--pull", "never", "no-such-image", "true", check=False)
    assert done.returncode == 125
    assert "no-such-image" in done.stderr


# Side by side


def test_one_of_many_with_the_same_name_wins(rl: Rootless, image: str) -> None:
    processes = [
        rl.popen("run", "--rm", "--name", "unique", "--network", "none", image, "sleep", "0.5") for _ in range(8)
    ]
    codes = sorted(process.wait(30) for process in processes)
    assert codes == [0] + [125] * 7
    for process in processes:
        assert process.stderr is not None
        said = process.stderr.read()
        assert b'"unique" is already in use' in said or process.returncode == 0


def test_many_run_side_by_side(rl: Rootless, image: str) -> None:
    processes = [rl.popen("run", "--rm", "--network", "none", image, "echo", str(n)) for n in range(24)]
    for n, process in enumerate(processes):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, f"{n}\n".encode(), b"")


def test_published_port_answers_and_a_busy_one_is_refused(rl: Rootless, image: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = "mkdir /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www"
    rl("run", "-d", "--name", "www", "-p", f"127.0.0.1:{port}:80", image, "sh", "-c", script)

    def fetch() -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return connection.makefile("rb").read()
        except OSError:
            return b""

    wait_until(lambda: b"served" in fetch(), what="the answer")
    done = rl("run", "--rm", "-p", f"127.0.0.1:{port}:80", image, "echo", "ran", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert str(port) in done.stderr
    assert rl.inspect("www")["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    rl("stop", "-t", "0", "www")
    with socket.socket() as again:  # free as soon as stop has returned
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_etc_files(rl: Rootless, image: str) -> None:
    out = rl.out(
        "run",
        "--rm",
        "--name",
        "named",
        "--hostname",
        "hosted",
        "--add-host",
        "db:192.0.2.7",
        image,
        "cat",
        "/etc/hosts",
    )
    lines = [line.split() for line in out.splitlines()]
    assert ["192.0.2.7", "db"] in lines
    assert any({"hosted", "named"} <= set(line) for line in lines)
    assert "nameserver 192.0.2.53" in rl.out("run", "--rm", "--dns", "192.0.2.53", image, "cat", "/etc/resolv.conf")


def test_inspect_has_the_keys_that_people_use(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl(
        "create",
        "--name",
        "seen",
        "-e",
        "A=1",
        "-l",
        "k=v",
        "-v",
        f"{tmp_path}:/m:ro",
        "--network",
        "none",
        image,
        "sleep",
        "9",
    )
    found = json.loads(rl.out("inspect", "seen"))[0]
    assert found["Name"] == "seen"
    assert (found["Path"], found["Args"]) == ("sleep", ["9"])
    assert found["ImageName"] == image
    assert "A=1" in found["Config"]["Env"]
    assert found["Config"]["Labels"]["k"] == "v"
    assert found["Config"]["Cmd"] == ["sleep", "9"]
    assert found["HostConfig"]["NetworkMode"] == "none"
    assert found["Mounts"][0]["Source"] == str(tmp_path)
    assert found["Mounts"][0]["RW"] is False
    assert found["State"]["Status"] == "created"
    assert found["State"]["StartedAt"].startswith("0001-01-01")
