"""A network namespace made for the purpose, slirp4netns in it, and servers and clients on both sides."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from network.ipv6 import skip_address_detection
from network.slirp4netns import Helper, start
from network.slirp_options import Options
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
