"""Ping sockets (icmp(7)), which root in a container may open without CAP_NET_RAW."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.test_without_subids import with_one_id
from tests.support.command import Rootless

RANGE = "/proc/sys/net/ipv4/ping_group_range"
PING = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
one.settimeout(5)
one.sendto(bytes([8]) + bytes(7), ("127.0.0.1", 0))
print(one.recv(100)[0])
"""


@pytest.mark.parametrize("network", ["none", "slirp4netns"])
def test_a_network_of_its_own_lets_root_ping(rl: Rootless, image: str, network: str) -> None:
    assert rl.out("run", "--rm", "--network", network, image, "cat", RANGE).split() == ["0", "0"]


def test_the_hosts_network_stays_as_it_is(rl: Rootless, image: str) -> None:
    before = Path(RANGE).read_text()
    rl("run", "--rm", "--network", "host", image, "true")
    assert Path(RANGE).read_text() == before


@pytest.mark.skipif(not os.path.exists("/usr/bin/python3"), reason="the host's Python is the program that pings")
def test_an_echo_is_answered(rl: Rootless, image: str) -> None:
    libraries = [path for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path)]
    binds = [word for path in libraries for word in ("-v", f"{path}:{path}:ro")]
    ping = ("run", "--rm", "--network", "none", *binds, image, "/usr/bin/python3", "-c", PING)
    assert rl.out(*ping) == "0"


def test_one_id_is_enough(fresh: Rootless, busybox: Path, image: str) -> None:
    with_one_id(fresh, "load", "-q", "-i", str(busybox))
    assert with_one_id(fresh, "run", "--rm", "--network", "none", image, "cat", RANGE).stdout.split() == ["0", "0"]
