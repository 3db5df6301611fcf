"""Published ports of slirp4netns in namespaces made for the purpose: who serves them, and what passes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from network.ports import Port, check_free
from network.slirp4netns import Helper, start
from network.slirp_options import Options
from rootless.errors import NetworkError
from tests.support.command import wait_until
from tests.support.slirp import PYTHON, directory, guest, has_ended, helper_of, namespace, programs, server

__all__ = ["directory", "namespace", "programs"]


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
