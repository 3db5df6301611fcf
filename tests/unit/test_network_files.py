"""/etc/hosts and /etc/resolv.conf of a container."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.files import check_dns, hosts, parse_add_host, parse_hosts, parse_resolv_conf, resolv_conf
from rootless.errors import UsageError

HOST = """\
# a comment
; another
nameserver 127.0.0.53
nameserver 192.0.2.53
nameserver ::1
nameserver 2001:db8::53
search old.example
search corp.example lan
options edns0 trust-ad
"""

words = st.text(
    st.characters(codec="ascii", exclude_characters=" #;:=", categories=["L", "N"]), min_size=1, max_size=20
)


def table(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.split()
        found.setdefault(address, []).extend(names)
    return found


def test_the_container_finds_itself_its_host_and_localhost() -> None:
    found = table(hosts(["web", "web", "alias"], "10.0.2.100", [], "192.0.2.2"))
    assert found["127.0.0.1"] == ["localhost"]
    assert "localhost" in found["::1"]
    assert found["10.0.2.100"] == ["web", "alias"]
    assert "host.containers.internal" in found["192.0.2.2"]


def test_own_entries_come_first_so_that_they_win() -> None:
    text = hosts(["web"], None, ["localhost:192.0.2.1", "a;b:192.0.2.2", "c=2001:db8::1"])
    lines = text.splitlines()
    assert lines[:3] == ["192.0.2.1\tlocalhost", "192.0.2.2\ta b", "2001:db8::1\tc"]
    assert "web" not in text


def test_host_gateway_stands_for_the_host() -> None:
    assert table(hosts([], None, ["db:host-gateway"], "192.0.2.9"))["192.0.2.9"][0] == "db"
    with pytest.raises(UsageError, match="no address that this container could reach"):
        hosts([], None, ["db:host-gateway"], None)


HOSTS_FILE = """\
127.0.0.1 localhost
127.0.1.1 laptop.example laptop  # the host's own name
::1 localhost ip6-localhost
192.0.2.50\tintranet web db
fe80::1%eth0 router
not-an-address name
192.0.2.51
"""


def test_the_hosts_file_of_the_host_is_taken_over_behind_what_the_container_defines() -> None:
    text = hosts(["web"], "10.0.2.100", ["db:192.0.2.7"], "192.0.2.2", HOSTS_FILE)
    found = table(text)
    assert found["127.0.0.1"] == ["localhost"]
    assert text.count("127.0.0.1") == 1
    assert found["127.0.1.1"] == ["laptop.example", "laptop"]
    assert found["192.0.2.50"] == ["intranet"], "web is the container, db was asked for otherwise"
    assert found["fe80::1%eth0"] == ["router"]
    assert "name" not in text.split()
    assert "192.0.2.51" not in text
    assert text.index("10.0.2.100") < text.index("192.0.2.50")


@given(st.text())
def test_any_hosts_file_can_be_read(text: str) -> None:
    for address, names in parse_hosts(text):
        assert address
        assert names


@pytest.mark.parametrize("text", ["db:[::1]", "db:::1"])
def test_ipv6_may_stand_in_brackets(text: str) -> None:
    assert parse_add_host(text) == ("::1", ["db"])


@pytest.mark.parametrize(
    "text",
    [
        "db",
        "db:",
        ":192.0.2.1",
        "a b:192.0.2.1",
        "a\n6.6.6.6 b:192.0.2.1",
        "db:1.2.3",
        "a;;b:192.0.2.1",
        "db:fe80::1%1",
    ],
)
def test_bad_hosts_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_add_host(text)


@given(words, st.ip_addresses())
def test_every_good_host_stands_in_one_line(name: str, address: object) -> None:
    text = hosts([], None, [f"{name}:{address}"])
    assert text.startswith(f"{address}\t{name}\n")


def test_the_hosts_loopback_servers_are_left_out() -> None:
    text = resolv_conf([], [], [], "10.0.2.3", HOST)
    assert parse_resolv_conf(text) == (
        ["10.0.2.3", "192.0.2.53", "2001:db8::53"],
        ["corp.example", "lan"],
        ["edns0", "trust-ad"],
    )


def test_on_the_hosts_network_its_loopback_servers_serve() -> None:
    servers, _, _ = parse_resolv_conf(resolv_conf([], [], [], None, HOST, shares_host=True))
    assert servers[0] == "127.0.0.53"


def test_what_was_asked_for_replaces_what_the_host_has() -> None:
    text = resolv_conf(["192.0.2.1"], ["x.example"], ["ndots:2"], "10.0.2.3", HOST)
    assert text == "search x.example\nnameserver 192.0.2.1\noptions ndots:2\n"


def test_a_dot_means_no_search() -> None:
    assert "search" not in resolv_conf([], ["."], [], "10.0.2.3", HOST)


def test_without_network_nothing_is_asked() -> None:
    assert resolv_conf([], [], []) == ""


@pytest.mark.parametrize(
    ("servers", "search", "options"),
    [
        (["dns.example"], [], []),
        ([], ["a b"], []),
        ([], ["a\nnameserver 6.6.6.6"], []),
        ([], [], [""]),
        (["::1%lo"], [], []),
    ],
)
def test_bad_resolver_options_are_refused(servers: list[str], search: list[str], options: list[str]) -> None:
    with pytest.raises(UsageError):
        check_dns(servers, search, options)


@given(st.text())
def test_any_host_file_can_be_read(text: str) -> None:
    parse_resolv_conf(text)
