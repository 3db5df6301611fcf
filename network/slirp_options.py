"""What `--network slirp4netns:KEY=VALUE,...` says, and the addresses that follow from it."""

from __future__ import annotations

import _socket

from rootless.errors import UsageError

PROGRAM = "slirp4netns"
OWN = "rootlesskit"  # what Podman calls the port handler that works as network.forward does
_SWITCHES = {"true": True, "false": False}


class Options:
    """`--network slirp4netns:KEY=VALUE,...`; `cidr` is the container's IPv4 network, `mtu` in bytes."""

    __slots__ = ("allow_host_loopback", "cidr", "enable_ipv6", "mtu", "outbound_addr", "outbound_addr6", "port_handler")

    def __init__(self) -> None:
        self.allow_host_loopback = False
        self.cidr = "10.0.2.0/24"
        self.enable_ipv6 = True
        self.mtu = 65520
        self.outbound_addr: str | None = None
        self.outbound_addr6: str | None = None
        self.port_handler = OWN

    def _address(self, number: int) -> str:
        network = int.from_bytes(_socket.inet_pton(_socket.AF_INET, self.cidr.partition("/")[0]), "big")
        return _socket.inet_ntop(_socket.AF_INET, (network + number).to_bytes(4, "big"))

    @property
    def container_address(self) -> str:
        return self._address(100)

    @property
    def gateway(self) -> str:
        """Also the host's loopback, where `allow_host_loopback` is set."""
        return self._address(2)

    @property
    def name_server(self) -> str:
        """Where the helper passes look-ups on to the host's own name servers."""
        return self._address(3)

    def arguments(self) -> list[str]:
        words = [f"--mtu={self.mtu}", f"--cidr={self.cidr}"]
        if not self.allow_host_loopback:
            words.append("--disable-host-loopback")
        if self.enable_ipv6:
            words.append("--enable-ipv6")
        if self.outbound_addr is not None:
            words.append(f"--outbound-addr={self.outbound_addr}")
        if self.outbound_addr6 is not None:
            words.append(f"--outbound-addr6={self.outbound_addr6}")
        return words


def parse_options(text: str) -> Options:
    """The part of `--network slirp4netns:...` behind the colon, "" for the defaults. Raises UsageError."""
    options = Options()
    for word in filter(None, text.split(",")):
        key, equals, value = word.partition("=")
        where = f'--network slirp4netns option "{word}"'
        if not equals or not value:
            raise UsageError(f"{where}: no value", "write it like mtu=1500")
        if key in ("allow_host_loopback", "enable_ipv6"):
            if value not in _SWITCHES:
                raise UsageError(f"{where}: neither true nor false")
            setattr(options, key, _SWITCHES[value])
        elif key == "mtu":
            if not (value.isascii() and value.isdigit() and len(value) < 6 and 68 <= int(value) <= 65521):
                raise UsageError(f"{where}: not a size between 68 and 65521 bytes")
            options.mtu = int(value)
        elif key == "cidr":
            options.cidr = _check_cidr(value, where)
        elif key == "outbound_addr":
            options.outbound_addr = value
        elif key == "outbound_addr6":
            options.outbound_addr6 = value
        elif key == "port_handler":
            if value not in (OWN, PROGRAM):
                raise UsageError(f"{where}: there is no such port handler", f"use {OWN} (the default) or {PROGRAM}")
            options.port_handler = value
        else:
            raise UsageError(
                f"{where}: there is no such option",
                "known: allow_host_loopback cidr enable_ipv6 mtu outbound_addr outbound_addr6 port_handler",
            )
    return options


def _check_cidr(text: str, where: str) -> str:
    address, _, length = text.partition("/")
    try:
        network = int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big")
    except (OSError, ValueError):
        network = -1
    if network < 0 or not (length.isascii() and length.isdigit() and len(length) < 3 and 1 <= int(length) <= 25):
        raise UsageError(
            f"{where}: not an IPv4 network with a prefix of 1 to 25 bits", "write it like cidr=10.0.3.0/24"
        )
    if network & ((1 << (32 - int(length))) - 1):
        raise UsageError(
            f"{where}: {address} is an address in that network, not its first", "write it like cidr=10.0.3.0/24"
        )
    return text
