"""slirp4netns in namespaces made for the purpose: no container, no store."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from network.ports import Port, check_free
from network.slirp4netns import start
from network.slirp_options import Options
from rootless.errors import NetworkError
from tests.support.command import wait_until
from tests.support.slirp import addresses, directory, fetch, has_ended, helper_of, inside, namespace, programs, server

__all__ = ["directory", "namespace", "programs"]


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
