"""What -p means, and whether the host still has the port."""

from __future__ import annotations

import json
import marshal
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.ports import (
    Port,
    check_free,
    describe,
    first_unprivileged_port,
    from_plain,
    parse_all,
    parse_expose,
    parse_publish,
)
from rootless.errors import NetworkError, UsageError

numbers = st.integers(1, 65535)
addresses = st.one_of(st.just(""), st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ("", 0, 80, "tcp")),
        ("8080:80", ("", 8080, 80, "tcp")),
        ("8080:80/UDP", ("", 8080, 80, "udp")),
        ("127.0.0.1:8080:80", ("127.0.0.1", 8080, 80, "tcp")),
        ("127.0.0.1::80", ("127.0.0.1", 0, 80, "tcp")),
        ("[::1]:8080:80/tcp", ("::1", 8080, 80, "tcp")),
        ("[::1]::80", ("::1", 0, 80, "tcp")),
        (":80", ("", 0, 80, "tcp")),
    ],
)
def test_a_single_port_is_read(text: str, expected: tuple[object, ...]) -> None:
    assert [port.plain() for port in parse_publish(text)] == [expected]


def test_ranges_pair_up_one_by_one() -> None:
    ports = parse_publish("127.0.0.1:8000-8002:80-82/udp")
    assert [(port.host_port, port.container_port) for port in ports] == [(8000, 80), (8001, 81), (8002, 82)]
    assert [port.host_port for port in parse_publish("80-82")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("99999", "not between 1 and 65535"),
        ("99999999999999999999:80", "not between 1 and 65535"),
        ("0:80", "not between 1 and 65535"),
        ("", "missing"),
        ("80:", "missing"),
        ("a:80", "not a port number"),
        ("-1:80", "missing"),
        ("٣:80", "not a port number"),
        ("8000-8002:80", "3 host ports for 1"),
        ("8002-8000:80-82", "ends before it starts"),
        ("80/sctp", "protocol"),
        ("80/", "protocol"),
        ("1.2.3:80:80", "not an IP address"),
        ("localhost:80:80", "not an IP address"),
        ("1.2.3.4.5:80:80", "not an IP address"),
        ("::1:80:80", "colons"),
        ("[::1]:80", "container port"),
        ("[::1:80", "brackets"),
        ("[127.0.0.1]:80:80", "brackets"),
        ("1:2:3:4", "colons"),
        ("127.0.0.1\0:80:80", "not an IP address"),
    ],
)
def test_nonsense_is_refused_with_its_reason(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_publish(text)
    assert told in caught.value.message
    assert text in caught.value.message


@given(addresses, numbers, numbers, st.sampled_from(["tcp", "udp"]))
def test_every_full_form_is_read_back(address: str, host: int, container: int, protocol: str) -> None:
    shown = f"[{address}]" if ":" in address else address
    text = f"{shown}:{host}:{container}/{protocol}" if address else f"{host}:{container}/{protocol}"
    (port,) = parse_publish(text)
    assert port.plain() == (address, host, container, protocol)


@given(st.text(max_size=40))
def test_any_text_is_ports_or_a_usage_error(text: str) -> None:
    try:
        ports = parse_publish(text)
    except UsageError:
        return
    assert ports
    assert all(0 <= port.host_port <= 65535 and 1 <= port.container_port <= 65535 for port in ports)


@given(addresses, st.integers(0, 65535), numbers, st.sampled_from(["tcp", "udp"]))
def test_ports_survive_json_and_marshal(address: str, host: int, container: int, protocol: str) -> None:
    port = Port(address, host, container, protocol)
    assert from_plain(json.loads(json.dumps(port.plain()))) == port
    assert from_plain(marshal.loads(marshal.dumps(port.plain()))) == port


@pytest.mark.parametrize(
    "texts",
    [
        ["80:80", "80:80"],
        ["80:80", "80:81"],
        ["80:80", "127.0.0.1:80:81"],
        ["127.0.0.1:80:81", "80:80"],
        ["8000-8002:1-3", "8002:5"],
        ["[::]:80:80", "[::1]:80:80"],
    ],
)
def test_a_host_port_is_published_once(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="already published"):
        parse_all(texts)


def test_what_does_not_clash_is_accepted() -> None:
    texts = ["80:80", "80:80/udp", "[::1]:80:80", "127.0.0.1:81:80", "127.0.0.2:81:80", "80", "80"]
    assert len(parse_all(texts)) == len(texts)


def test_expose_takes_ranges_and_protocols() -> None:
    assert parse_expose("80-81/udp") == [(80, "udp"), (81, "udp")]
    assert parse_expose("80/SCTP") == [(80, "sctp")]
    with pytest.raises(UsageError):
        parse_expose("80/icmp")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_busy_port_is_named(protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(NetworkError) as caught:
            check_free([Port("", number, 80, protocol)])
    assert caught.value.message == f"publishing 0.0.0.0:{number}/{protocol}: the port is already in use on the host"
    assert caught.value.hint


def test_an_address_that_the_host_lacks_is_named() -> None:
    with pytest.raises(NetworkError, match=r"does not have the address 192\.0\.2\.77"):
        check_free([Port("192.0.2.77", 8080, 80, "tcp")])


def test_a_privileged_port_says_how_to_get_it() -> None:
    if first_unprivileged_port() <= 1:
        pytest.skip("this host lets everybody have every port")
    with pytest.raises(NetworkError) as caught:
        check_free([Port("127.0.0.1", 1, 80, "tcp")])
    assert "need root" in caught.value.message
    assert "ip_unprivileged_port_start=1" in (caught.value.hint or "")


def test_random_ports_are_distinct_and_keep_their_order() -> None:
    asked = [Port("127.0.0.1", 0, number, "tcp") for number in range(80, 100)]
    found = check_free(asked)
    assert [port.container_port for port in found] == list(range(80, 100))
    assert len({port.host_port for port in found}) == 20
    assert all(port.host_port for port in found)


def test_ports_are_released_again() -> None:
    found = check_free([Port("127.0.0.1", 0, 80, "tcp")])
    assert check_free(found) == found


def test_neighbours_are_shown_as_ranges() -> None:
    ports = parse_all(["8000-8002:80-82", "8080:80", "127.0.0.1:53:53/udp", "[::1]:8080:80"])
    shown = describe(ports)
    assert shown.split(", ") == [
        "0.0.0.0:8000-8002->80-82/tcp",
        "0.0.0.0:8080->80/tcp",
        "127.0.0.1:53->53/udp",
        "[::1]:8080->80/tcp",
    ]
