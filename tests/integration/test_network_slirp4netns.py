"""slirp4netns in namespaces made for the purpose: no container, no store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from network.ipv6 import skip_address_detection
from network.ports import Port, check_free
from network.slirp4netns import Helper, start
from network.slirp_options import Options
from rootless.errors import NetworkError
from rootless.kernel.idmaps import default_user_map, start_mapping
from rootless.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, unshare
from tests.conftest import need
from tests.support.command import wait_until

PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable


@pytest.fixture(autouse=True)
def programs() -> None:
    need("slirp4netns", "nsenter", "ip")


@pytest.fixture
def namespace() -> Iterator[int]:
    """Pid of a process that sleeps in a user and network namespace of its own, its ids mapped."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            unshare(CLONE_NEWUSER | CLONE_NEWNET)
            skip_address_detection()
            os.write(writer, b"1")
            signal.pause()
        finally:
            os._exit(1)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    os.close(writer)
    start_mapping(pid, default_user_map()).finish()
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """As deep as the run directory of a container: a socket's whole path does not fit into its address."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True, mode=0o700)
    return deep


def has_ended(helper: Helper) -> bool:
    try:
        return os.waitpid(helper.pid, os.WNOHANG)[0] == helper.pid
    except ChildProcessError:  # reaped before
        return True


@contextmanager
def helper_of(pid: int, directory: Path, options: Options | None = None) -> Iterator[Helper]:
    helper = start(pid, options or Options(), str(directory / "log"), str(directory / "slirp.sock"))
    try:
        helper.wait_ready()
        yield helper
    finally:
        helper.stop()
        wait_until(lambda: has_ended(helper), what="the end of slirp4netns")


def inside(pid: int, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    enter = ["nsenter", f"--target={pid}", "--user", "--net", "--preserve-credentials", *words]
    return subprocess.run(enter, capture_output=True, text=True, timeout=20, **more)


def addresses(pid: int, interface: str) -> list[dict[str, Any]]:
    shown = inside(pid, "ip", "-j", "address", "show", "dev", interface, check=True).stdout
    found: list[dict[str, Any]] = json.loads(shown)[0]["addr_info"]
    return found


@contextmanager
def server(family: int = socket.AF_INET, address: str = "127.0.0.1") -> Iterator[int]:
    """A server on the host's loopback that greets whoever comes; yields its port."""
    with socket.create_server((address, 0), family=family) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"from the host")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


FETCH = (
    "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print(s.recv(99).decode())"
)


def fetch(pid: int, address: str, port: int) -> subprocess.CompletedProcess[str]:
    return inside(pid, PYTHON, "-I", "-S", "-c", FETCH, address, str(port))


@contextmanager
def guest(pid: int, port: int, protocol: str = "tcp") -> Iterator[None]:
    """A server in the namespace that answers `from inside`."""
    code = f"""
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_{"STREAM" if protocol == "tcp" else "DGRAM"})
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", {port}))
        {"s.listen()" if protocol == "tcp" else ""}
        print("ready", flush=True)
        while True:
            if {protocol == "tcp"}:
                c, _ = s.accept(); c.sendall(b"from inside"); c.close()
            else:
                _, peer = s.recvfrom(99); s.sendto(b"from inside", peer)
    """
    words = ["nsenter", f"--target={pid}", "--user", "--net", "--preserve-credentials"]
    words += [PYTHON, "-I", "-S", "-c", textwrap.dedent(code)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            running.kill()


def test_the_interface_is_up_with_address_and_route(namespace: int, directory: Path) -> None:
    with helper_of(namespace, directory):
        assert "10.0.2.100" in [address["local"] for address in addresses(namespace, "tap0")]
        assert inside(namespace, "ip", "route").stdout.startswith("default via 10.0.2.2 dev tap0")
        assert json.loads(inside(namespace, "ip", "-j", "link", "show", "tap0").stdout)[0]["mtu"] == 65520


def test_options_are_obeyed(namespace: int, directory: Path) -> None:
    options = Options()
    options.cidr, options.mtu, options.enable_ipv6 = "10.77.0.0/16", 1400, False
    with helper_of(namespace, directory, options):
        assert options.container_address in [address["local"] for address in addresses(namespace, "tap0")]
        assert json.loads(inside(namespace, "ip", "-j", "link", "show", "tap0").stdout)[0]["mtu"] == 1400
        time.sleep(0.2)
        assert not any(address["local"].startswith("fd00:") for address in addresses(namespace, "tap0"))


def test_an_ipv6_address_is_there_and_usable_at_once(namespace: int, directory: Path) -> None:
    def usable() -> bool:
        found = [address for address in addresses(namespace, "tap0") if address["local"].startswith("fd00:")]
        assert not any(address.get("tentative") for address in found)
        return bool(found)

    with helper_of(namespace, directory):
        wait_until(usable, 10, "an IPv6 address")
        assert "default via fe80::2" in inside(namespace, "ip", "-6", "route").stdout


def test_the_hosts_loopback_cannot_be_reached(namespace: int, directory: Path) -> None:
    with server() as port, helper_of(namespace, directory):
        assert fetch(namespace, "10.0.2.2", port).returncode != 0
        assert fetch(namespace, "127.0.0.1", port).returncode != 0


def test_the_hosts_ipv6_loopback_cannot_be_reached(namespace: int, directory: Path) -> None:
    with server(socket.AF_INET6, "::1") as port, helper_of(namespace, directory):
        wait_until(lambda: "fd00:" in inside(namespace, "ip", "-6", "address").stdout)
        assert fetch(namespace, "fd00::2", port).returncode != 0


def test_the_hosts_loopback_is_reached_where_that_was_asked(namespace: int, directory: Path) -> None:
    options = Options()
    options.allow_host_loopback = True
    with server() as port, helper_of(namespace, directory, options):
        assert fetch(namespace, options.gateway, port).stdout == "from the host\n"


@pytest.fixture(params=["rootlesskit", "slirp4netns"])
def handler(request: pytest.FixtureRequest) -> Options:
    """Options with either way to publish ports."""
    options = Options()
    options.port_handler = request.param
    return options


def greeting(address: str, port: int) -> bytes:
    with socket.create_connection((address, port), 3) as connection:
        return connection.recv(99)


def test_a_published_tcp_port_answers(namespace: int, directory: Path, handler: Options) -> None:
    with helper_of(namespace, directory, handler) as helper, guest(namespace, 80):
        ports = check_free([Port("127.0.0.1", 0, 80, "tcp"), Port("", 0, 80, "tcp")])
        helper.publish(ports)
        assert helper.published == ports
        for port in ports:
            assert greeting("127.0.0.1", port.host_port) == b"from inside"


def test_a_published_udp_port_answers_each_client(namespace: int, directory: Path) -> None:
    with helper_of(namespace, directory) as helper, guest(namespace, 53, "udp"):
        ports = check_free([Port("127.0.0.1", 0, 53, "udp")])
        helper.publish(ports)
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for client in clients:
            client.settimeout(3)
            client.sendto(b"?", ("127.0.0.1", ports[0].host_port))
        for client in clients:
            assert client.recv(99) == b"from inside"
            client.close()


def test_ipv6_clients_are_served(namespace: int, directory: Path) -> None:
    with helper_of(namespace, directory) as helper, guest(namespace, 80):
        ports = check_free([Port("::1", 0, 80, "tcp"), Port("", 0, 80, "tcp")])
        helper.publish(ports)
        for port in ports:
            assert greeting("::1", port.host_port) == b"from inside"


def test_slirp4netns_as_port_handler_refuses_ipv6(namespace: int, directory: Path) -> None:
    options = Options()
    options.port_handler = "slirp4netns"
    with helper_of(namespace, directory, options) as helper, pytest.raises(NetworkError, match="IPv4 addresses only"):
        helper.publish([Port("::1", 18080, 80, "tcp")])


def test_a_port_taken_meanwhile_is_named(namespace: int, directory: Path, handler: Options) -> None:
    with server() as taken, helper_of(namespace, directory, handler) as helper:
        with pytest.raises(NetworkError, match=rf"127\.0\.0\.1:{taken}/tcp: the port is already in use"):
            helper.publish([Port("127.0.0.1", taken, 80, "tcp")])
        assert not helper.published


def test_published_ports_are_free_once_stop_returns(namespace: int, directory: Path, handler: Options) -> None:
    ports = check_free([Port("", 0, 80, "tcp"), Port("", 0, 80, "udp")])
    helper = start(namespace, handler, str(directory / "log"), str(directory / "slirp.sock"))
    helper.wait_ready()
    helper.publish(ports)
    with pytest.raises(NetworkError):
        check_free(ports)
    helper.stop()
    check_free(ports)
    wait_until(lambda: has_ended(helper))


ECHO = """
    import socket, threading
    def serve(c):
        while data := c.recv(65536): c.sendall(data)
        c.shutdown(socket.SHUT_WR)
        c.close()
    s = socket.create_server(("0.0.0.0", 7), backlog=200)
    print("ready", flush=True)
    while True:
        threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


@contextmanager
def published_echo(pid: int, directory: Path) -> Iterator[tuple[int, Helper]]:
    """A published port of a server that sends back what it gets, and ends a connection when its client has."""
    words = ["nsenter", f"--target={pid}", "--user", "--net", "--preserve-credentials"]
    words += [PYTHON, "-I", "-S", "-c", textwrap.dedent(ECHO)]
    with helper_of(pid, directory) as helper, subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        ports = check_free([Port("127.0.0.1", 0, 7, "tcp")])
        helper.publish(ports)
        try:
            yield ports[0].host_port, helper
        finally:
            running.kill()


def test_all_bytes_pass_both_ways_and_half_closing_works(namespace: int, directory: Path) -> None:
    data = os.urandom(20 << 20)
    with published_echo(namespace, directory) as (port, _), socket.create_connection(("127.0.0.1", port), 5) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = bytearray()
        while piece := client.recv(1 << 20):
            received += piece
        sender.join()
    assert received == data


def test_many_clients_at_once_are_served(namespace: int, directory: Path) -> None:
    with published_echo(namespace, directory) as (port, _):
        clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(150)]
        for number, client in enumerate(clients):
            client.sendall(str(number).encode())
        for number, client in enumerate(clients):
            assert client.recv(99) == str(number).encode()
            client.close()


def test_a_client_of_a_port_that_nobody_serves_is_reset(namespace: int, directory: Path) -> None:
    with helper_of(namespace, directory) as helper:
        ports = check_free([Port("127.0.0.1", 0, 80, "tcp")])
        helper.publish(ports)
        address = ("127.0.0.1", ports[0].host_port)
        with socket.create_connection(address, 3) as client, pytest.raises(ConnectionResetError):
            client.recv(1)


def test_closed_connections_leave_nothing_in_the_forwarder(namespace: int, directory: Path) -> None:
    with published_echo(namespace, directory) as (port, helper):

        def descriptors() -> int:
            return len(os.listdir(f"/proc/{helper.forwarder}/fd"))

        def once() -> None:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"

        once()
        nothing_else = 7  # three of stdio, the log's own, epoll, the exit pipe, the listener
        wait_until(lambda: descriptors() <= nothing_else, what="the end of the connection")
        for _ in range(20):
            once()
        wait_until(lambda: descriptors() <= nothing_else, what="the end of the connections")


def test_the_forwarder_has_no_rights(namespace: int, directory: Path) -> None:
    with published_echo(namespace, directory) as (port, helper):
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{helper.forwarder}/status").read_text().splitlines()
        )
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"


def test_the_forwarder_ends_with_the_process_that_started_it(namespace: int, directory: Path) -> None:
    ports = check_free([Port("127.0.0.1", 0, 80, "tcp")])
    code = """
        import sys, time
        from network.ports import Port
        from network.slirp4netns import start
        from network.slirp_options import Options
        helper = start(int(sys.argv[1]), Options(), sys.argv[2])
        helper.wait_ready()
        helper.publish([Port("127.0.0.1", int(sys.argv[3]), 80, "tcp")])
        print("ready", flush=True)
        time.sleep(60)
    """
    words = [sys.executable, "-c", textwrap.dedent(code), str(namespace), str(directory / "log")]
    with subprocess.Popen([*words, str(ports[0].host_port)], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        with pytest.raises(NetworkError):
            check_free(ports)
        running.kill()

    def free() -> bool:
        try:
            return bool(check_free(ports))
        except NetworkError:
            return False

    wait_until(free, what="the end of the forwarder")


def test_stopping_waits_for_nothing_where_nothing_is_published(namespace: int, directory: Path) -> None:
    helper = start(namespace, Options(), str(directory / "log"))
    helper.wait_ready()
    before = time.perf_counter()
    helper.stop()
    assert time.perf_counter() - before < 0.01
    wait_until(lambda: has_ended(helper))


def test_its_death_is_noticed_and_publishing_says_so(namespace: int, directory: Path) -> None:
    options = Options()
    options.port_handler = "slirp4netns"
    with helper_of(namespace, directory, options) as helper:
        assert not has_ended(helper)
        os.kill(helper.pid, signal.SIGKILL)
        wait_until(lambda: has_ended(helper))
        with pytest.raises(NetworkError, match="does not answer"):
            helper.publish(check_free([Port("127.0.0.1", 0, 80, "tcp")]))


def test_it_ends_with_the_process_that_started_it(namespace: int, directory: Path) -> None:
    code = """
        import sys, time
        from network.slirp4netns import start
        from network.slirp_options import Options
        helper = start(int(sys.argv[1]), Options(), sys.argv[2])
        helper.wait_ready()
        print(helper.pid, flush=True)
        time.sleep(60)
    """
    words = [sys.executable, "-c", textwrap.dedent(code), str(namespace), str(directory / "log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        running.kill()
    wait_until(lambda: not Path(f"/proc/{pid}/exe").exists() or state_of(pid) == "Z")


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "Z"


def test_no_descriptor_is_left_open_or_handed_on(namespace: int, directory: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    options = Options()
    options.port_handler = "slirp4netns"
    with helper_of(namespace, directory, options) as helper:
        opened = {os.readlink(f"/proc/{helper.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{helper.pid}/fd")}
        assert "/etc/passwd" not in opened
        assert not any(os.path.isdir(path) for path in opened)
    os.close(secret)
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_helper_is_locked_up(namespace: int, directory: Path) -> None:
    options = Options()
    options.port_handler = "slirp4netns"
    with helper_of(namespace, directory, options) as helper:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{helper.pid}/status").read_text().splitlines())
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapBnd"], 16) == 1 << 10  # CAP_NET_BIND_SERVICE
        assert os.readlink(f"/proc/{helper.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
        assert (directory / "slirp.sock").is_socket()


def test_the_working_directory_is_as_before(namespace: int, directory: Path) -> None:
    before = os.getcwd()
    options = Options()
    options.port_handler = "slirp4netns"
    with helper_of(namespace, directory, options):
        assert os.getcwd() == before


def test_where_it_is_missing_that_is_said(namespace: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(directory))
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(NetworkError, match="not installed") as caught:
        start(namespace, Options(), str(directory / "log"), str(directory / "slirp.sock"))
    assert "--network none" in (caught.value.hint or "")
    assert set(os.listdir("/proc/self/fd")) == before


def pretend(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = directory / "slirp4netns"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_a_crash_at_the_start_is_told_in_its_own_words(
    namespace: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(directory, monkeypatch, "echo WARNING: of no interest; echo the tap is out of order >&2; exit 3")
    helper = start(namespace, Options(), str(directory / "log"))
    with pytest.raises(NetworkError, match=r"starting slirp4netns: the tap is out of order$"):
        helper.wait_ready()
    assert has_ended(helper)


def test_a_start_that_hangs_is_ended(namespace: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(directory, monkeypatch, "exec sleep 60")
    helper = start(namespace, Options(), str(directory / "log"))
    with pytest.raises(NetworkError, match=r"not ready after 0\.1 seconds"):
        helper.wait_ready(0.1)
    assert has_ended(helper)


def test_without_the_tun_device_the_remedy_is_told(directory: Path) -> None:
    code = """
        import os, signal, sys
        from network.slirp4netns import start
        from network.slirp_options import Options
        from rootless.errors import NetworkError
        from rootless.kernel.idmaps import UserMap, start_mapping
        from rootless.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, unshare

        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            unshare(CLONE_NEWUSER | CLONE_NEWNET)
            os.write(writer, b"1")
            signal.pause()
        os.read(reader, 1)
        start_mapping(pid, UserMap([(0, 0, 1)], [(0, 0, 1)], True, None)).finish()
        try:
            start(pid, Options(), sys.argv[1]).wait_ready()
        except NetworkError as error:
            print(error.message, error.hint, sep="|")
        os.kill(pid, signal.SIGKILL)
    """
    script = 'mount -t tmpfs none /dev/net && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    words += [sys.executable, "-c", textwrap.dedent(code), str(directory / "log")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    message, _, hint = done.stdout.partition("|")
    assert "/dev/net/tun" in message, done.stderr
    assert "modprobe tun" in hint
    assert "--network none" in hint
