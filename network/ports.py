"""Published ports: what `-p` says, checked, and whether the host still has them free."""

from __future__ import annotations

import _socket
import errno

from rootless.errors import NetworkError, UsageError

PROTOCOLS = ("tcp", "udp")
_PUBLISHED = "[[IP:]HOST_PORT:]CONTAINER_PORT[/tcp|udp]"


class Port:
    """One published port. `host_ip` is "" for every address of the host; `host_port` 0 means: any free one."""

    __slots__ = ("container_port", "host_ip", "host_port", "protocol")

    def __init__(self, host_ip: str, host_port: int, container_port: int, protocol: str) -> None:
        self.host_ip = host_ip
        self.host_port = host_port
        self.container_port = container_port
        self.protocol = protocol

    def plain(self) -> tuple[str, int, int, str]:
        """For JSON and marshal; `from_plain` takes it back."""
        return self.host_ip, self.host_port, self.container_port, self.protocol

    def with_host_port(self, host_port: int) -> Port:
        return Port(self.host_ip, host_port, self.container_port, self.protocol)

    @property
    def family(self) -> int:
        return _socket.AF_INET6 if ":" in self.host_ip else _socket.AF_INET

    @property
    def host_address(self) -> str:
        """Where it listens on the host, as people write it: `0.0.0.0:8080`, `[::1]:8080`."""
        address = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip or "0.0.0.0"
        return f"{address}:{self.host_port}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Port) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash(self.plain())

    def __repr__(self) -> str:
        return f"{self.host_address}->{self.container_port}/{self.protocol}"


def from_plain(plain: list[object] | tuple[object, ...]) -> Port:
    host_ip, host_port, container_port, protocol = plain
    return Port(str(host_ip), int(host_port), int(container_port), str(protocol))  # type: ignore[call-overload]


def parse_publish(text: str) -> list[Port]:
    """`[[HOST_IP:][HOST_PORT]:]CONTAINER_PORT[/tcp|udp]`; ports may be ranges of one length; IPv6 stands in brackets.

    No host port means a random one (0, chosen by `check_free`). Raises UsageError.
    """
    where = f'publishing "{text}"'
    address, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise UsageError(f"{where}: protocol {protocol!r} cannot be forwarded", "use /tcp or /udp")
    host_ip = ""
    if address.startswith("["):
        host_ip, bracket, address = address[1:].partition("]")
        if not bracket or not address.startswith(":") or ":" not in host_ip:
            raise UsageError(f"{where}: not an IPv6 address in brackets", "write it like [::1]:8080:80")
        address = address[1:]
        if ":" not in address:
            raise UsageError(f"{where}: no container port", "write it like [::1]:8080:80")
    elif address.count(":") > 2:
        raise UsageError(f"{where}: too many colons", "put an IPv6 address in brackets: [::1]:8080:80")
    elif address.count(":") == 2:
        host_ip, _, address = address.partition(":")
    if host_ip:
        _check_ip(host_ip, where)
    host, _, container = address.rpartition(":")
    first, count = _port_range(container, "container", where)
    if not host:
        return [Port(host_ip, 0, first + n, protocol) for n in range(count)]
    host_first, host_count = _port_range(host, "host", where)
    if host_count != count:
        raise UsageError(
            f"{where}: {host_count} host ports for {count} container ports", "give ranges of the same length"
        )
    return [Port(host_ip, host_first + n, first + n, protocol) for n in range(count)]


def parse_all(texts: list[str]) -> list[Port]:
    """All `-p` of a command. A host port that is claimed twice is a UsageError."""
    ports: list[Port] = []
    claimed: set[tuple[str, int, str]] = set()
    for text in texts:
        for port in parse_publish(text):
            if port.host_port:
                _claim(port, text, claimed)
            ports.append(port)
    return ports


def parse_expose(text: str) -> list[tuple[int, str]]:
    """`--expose`: `80`, `80-90/udp` as (port, protocol) pairs; a note only, so sctp is taken too. Raises UsageError."""
    where = f'exposing "{text}"'
    number, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in (*PROTOCOLS, "sctp"):
        raise UsageError(f"{where}: protocol {protocol!r} is not known", "use /tcp, /udp or /sctp")
    first, count = _port_range(number, "container", where, "PORT[-LAST_PORT][/tcp|udp|sctp]")
    return [(first + n, protocol) for n in range(count)]


def _claim(port: Port, text: str, claimed: set[tuple[str, int, str]]) -> None:
    anywhere = "::" if port.family == _socket.AF_INET6 else "0.0.0.0"
    host_ip = port.host_ip or anywhere
    same = [ip for ip, number, protocol in claimed if (number, protocol) == (port.host_port, port.protocol)]
    if (
        host_ip in same
        or anywhere in same
        or (host_ip == anywhere and any((":" in ip) == (":" in host_ip) for ip in same))
    ):
        raise UsageError(
            f'publishing "{text}": host port {port.host_port}/{port.protocol} is already published by this container',
            "choose another host port, or leave it out for a random one",
        )
    claimed.add((host_ip, port.host_port, port.protocol))


def _check_ip(address: str, where: str) -> None:
    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    except (OSError, ValueError):
        raise UsageError(f"{where}: {address!r} is not an IP address") from None


def _port_range(text: str, side: str, where: str, form: str = _PUBLISHED) -> tuple[int, int]:
    """First port and how many."""
    first, dash, last = text.partition("-")
    start = _port(first, side, where, form)
    end = _port(last, side, where, form) if dash else start
    if end < start:
        raise UsageError(f"{where}: the {side} range {text} ends before it starts")
    return start, end - start + 1


def _port(text: str, side: str, where: str, form: str) -> int:
    if not (text.isascii() and text.isdigit()):
        what = f"{text!r} is not a port number" if text else "the port number is missing"
        raise UsageError(f"{where}: {side} port: {what}", f"the form is {form}")
    number = int(text) if len(text) < 8 else 65536
    if not 1 <= number <= 65535:
        raise UsageError(f"{where}: {side} port {text} is not between 1 and 65535")
    return number


def check_free(ports: list[Port]) -> list[Port]:
    """The same ports, those with host port 0 given a free one; raises NetworkError where one is taken or forbidden.

    All are bound at once, and released on return; who comes first afterwards has them: `Helper.publish` then says so.
    """
    found: dict[Port, Port] = {}
    handles = []
    try:
        for port in sorted(ports, key=lambda port: not port.host_port):
            handle = _socket.socket(port.family, _socket.SOCK_STREAM if port.protocol == "tcp" else _socket.SOCK_DGRAM)
            handles.append(handle)
            _bind(handle, port)
            found[port] = port.with_host_port(handle.getsockname()[1])
    finally:
        for handle in handles:
            handle.close()
    return [found[port] for port in ports]


def _bind(handle: _socket.socket, port: Port) -> None:
    if port.family == _socket.AF_INET6:
        handle.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
    if port.protocol == "tcp":  # past connections in TIME_WAIT do not count; for udp this would let two share a port
        handle.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        handle.bind((port.host_ip or "0.0.0.0", port.host_port))
    except OSError as error:
        raise bind_error(port, error) from None


def bind_error(port: Port, error: OSError) -> NetworkError:
    """Why the host refuses to let us listen on `port`, in words."""
    what = f"publishing {port.host_address}/{port.protocol}"
    if error.errno == errno.EADDRINUSE:
        return NetworkError(
            f"{what}: the port is already in use on the host", "choose another host port, or stop what uses it"
        )
    if error.errno == errno.EACCES:
        return NetworkError(
            f"{what}: ports below {first_unprivileged_port()} need root",
            f"choose a higher port, or: sudo sysctl net.ipv4.ip_unprivileged_port_start={port.host_port}",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{what}: the host does not have the address {port.host_ip}", "see: ip address")
    return NetworkError(f"{what}: {error.strerror}")


def first_unprivileged_port() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "rb", buffering=0) as setting:
            return int(setting.read(16))
    except (OSError, ValueError):
        return 1024


def describe(ports: list[Port]) -> str:
    """The PORTS column of `ps`: neighbours are joined, `0.0.0.0:8000-8002->80-82/tcp, 127.0.0.1:53->53/udp`."""
    runs: list[list[Port]] = []
    for port in sorted(ports, key=lambda port: (port.host_ip, port.protocol, port.host_port, port.container_port)):
        if runs and _follows(runs[-1][-1], port):
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(repr(run[0]) if len(run) == 1 else _describe_run(run[0], run[-1]) for run in runs)


def _follows(before: Port, port: Port) -> bool:
    expected = (before.host_ip, before.host_port + 1, before.container_port + 1, before.protocol)
    return port.plain() == expected


def _describe_run(first: Port, last: Port) -> str:
    containers = f"{first.container_port}-{last.container_port}/{first.protocol}"
    return f"{first.host_address}-{last.host_port}->{containers}"
