"""Options of slirp4netns, and the addresses that follow from them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.slirp_options import parse_options
from rootless.errors import UsageError


def test_by_default_the_hosts_loopback_is_closed_and_ipv6_is_on() -> None:
    words = parse_options("").arguments()
    assert "--disable-host-loopback" in words
    assert "--enable-ipv6" in words
    assert "--mtu=65520" in words


def test_every_option_reaches_the_program() -> None:
    text = "allow_host_loopback=true,enable_ipv6=false,mtu=1500,cidr=10.9.0.0/16,port_handler=slirp4netns"
    words = parse_options(text + ",outbound_addr=192.0.2.1,outbound_addr6=2001:db8::1").arguments()
    assert words == ["--mtu=1500", "--cidr=10.9.0.0/16", "--outbound-addr=192.0.2.1", "--outbound-addr6=2001:db8::1"]


def test_addresses_follow_from_the_network() -> None:
    options = parse_options("cidr=10.9.8.0/24")
    assert (options.gateway, options.name_server, options.container_address) == ("10.9.8.2", "10.9.8.3", "10.9.8.100")


@pytest.mark.parametrize(
    "text",
    [
        "mtu",
        "mtu=",
        "mtu=67",
        "mtu=65522",
        "mtu=x",
        "allow_host_loopback=yes",
        "enable_ipv6=1",
        "port_handler=nat",
        "cidr=10.0.2.3",
        "cidr=10.0.2.0/26",
        "cidr=10.0.2.0/0",
        "cidr=10.0.2.1/24",
        "cidr=fd00::/64",
        "foo=1",
        "=1",
    ],
)
def test_a_bad_option_is_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(text)
    assert text in caught.value.message


@given(st.text(max_size=30))
def test_any_text_is_options_or_a_usage_error(text: str) -> None:
    try:
        options = parse_options(text)
    except UsageError:
        return
    assert options.container_address


def test_the_modules_import_nothing_dear() -> None:
    code = (
        "import sys, network.slirp4netns, network.ports, network.files, network.ipv6\n"
        "print(*(sys.modules.keys() & {'re', 'enum', 'typing', 'socket', 'functools', 'contextlib', 'subprocess'}))"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-S", "-c", code]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == ""
