"""HOSTILE 23 and 34: what a container can reach, and helpers that are missing or die."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.command import Rootless, wait_until


@pytest.fixture(autouse=True)
def programs() -> None:
    need("slirp4netns")


@pytest.fixture
def on_the_hosts_loopback() -> Iterator[int]:
    """Port of a web server that only the host should reach."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nsecret of the host\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def helper_of(pid: int, name: str = "slirp4netns") -> int:
    """Pid of the helper beside the container whose pid 1 is `pid`: a child of the same monitor."""
    monitor = parent(pid)
    found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and parent(int(entry)) == monitor]
    (helper,) = [candidate for candidate in found if comm(candidate) == name]
    return helper


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return -1


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


def test_the_hosts_loopback_is_closed_unless_asked_for(rl: Rootless, image: str, on_the_hosts_loopback: int) -> None:
    # not wget: Debian's static busybox crashes in it, wherever it runs
    words = ["sh", "-c", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 10.0.2.2 {on_the_hosts_loopback}"]
    refused = rl("run", "--rm", image, *words, check=False)
    assert refused.returncode == 1
    assert "secret" not in refused.stdout
    opened = rl("run", "--rm", "--network", "slirp4netns:allow_host_loopback=true", image, *words)
    assert "secret of the host\n" in opened.stdout


@pytest.mark.parametrize("handler", ["rootlesskit", "slirp4netns"])
def test_no_socket_of_ours_is_seen_in_the_container(rl: Rootless, image: str, handler: str) -> None:
    script = "cat /proc/net/unix; find / -xdev -type s; ls -l /proc/self/fd"
    shown = rl.out(
        "run", "--rm", "--network", f"slirp4netns:port_handler={handler}", "-p", "80", image, "sh", "-c", script
    )
    assert ".sock" not in shown
    assert "socket:" not in shown


def test_a_service_on_the_containers_loopback_is_not_published(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "inner", "-p", "127.0.0.1::80", image, "httpd", "-f", "-p", "127.0.0.1:80")
    number = int(rl.out("port", "inner", "80").rpartition(":")[2])
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", number), 3) as client:
        client.recv(99)


def without_slirp4netns(directory: Path) -> dict[str, str]:
    """An environment whose PATH has all of the host's programs but that one."""
    for place in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        if not os.path.isdir(place):
            continue
        for name in os.listdir(place):
            link = directory / name
            if name != "slirp4netns" and not link.is_symlink():
                link.symlink_to(f"{place}/{name}")
    return {"PATH": str(directory)}


def test_without_slirp4netns_the_remedy_is_told_and_other_networks_work(
    rl: Rootless, image: str, tmp_path: Path
) -> None:
    environment = without_slirp4netns(tmp_path)
    failed = rl("run", "--rm", image, "true", check=False, env=environment)
    assert failed.returncode == 125
    assert failed.stderr.startswith("Error: starting slirp4netns: it is not installed\nhint: ")
    rl("run", "--rm", "--network", "none", image, "true", env=environment)


def test_a_crash_of_slirp4netns_at_the_start_is_told(rl: Rootless, image: str, tmp_path: Path) -> None:
    program = tmp_path / "slirp4netns"
    program.write_text("#!/bin/sh\necho the tap is out of order >&2\nexit 1\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    failed = rl("run", "--rm", image, "true", check=False, env=environment)
    assert failed.returncode == 125
    assert "Error: starting slirp4netns: the tap is out of order" in failed.stderr
    assert rl.out("ps", "-a", "-q") == ""


def test_a_container_outlives_slirp4netns_and_inspect_tells(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "cut-off", image, "sleep", "1000")
    os.kill(helper_of(rl.inspect("cut-off")["State"]["Pid"]), signal.SIGKILL)
    wait_until(lambda: "lost its network" in rl.inspect("cut-off")["State"]["Error"], what="the note of its end")
    assert rl.status("cut-off") == "running"
    assert rl.out("exec", "cut-off", "echo", "alive") == "alive"
    rl("rm", "-f", "-t", "0", "cut-off")


def test_ports_are_free_again_after_the_forwarder_was_killed(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "web", "-p", "127.0.0.1::80", image, "httpd", "-f")
    address = rl.out("port", "web", "80")
    os.kill(helper_of(rl.inspect("web")["State"]["Pid"], "rootless-ports"), signal.SIGKILL)
    rl("rm", "-f", "-t", "0", "web")
    rl("run", "--rm", "-p", f"{address}:80", image, "true")


def test_a_busy_port_is_an_error_before_anything_runs(rl: Rootless, image: str, tmp_path: Path) -> None:
    assert shutil.which("slirp4netns")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        failed = rl(
            "run",
            "--rm",
            "-v",
            f"{tmp_path}:/seen",
            "-p",
            f"127.0.0.1:{number}:80",
            image,
            "touch",
            "/seen/ran",
            check=False,
        )
    assert failed.returncode == 125
    assert f"127.0.0.1:{number}/tcp: the port is already in use" in failed.stderr
    assert not (tmp_path / "ran").exists()
    assert rl.out("ps", "-a", "-q") == ""
