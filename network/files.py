"""What a container finds in /etc/hosts and /etc/resolv.conf (hosts(5), resolv.conf(5))."""

from __future__ import annotations

import _socket

from rootless.errors import UsageError

HOST_NAMES = "host.containers.internal host.docker.internal"

_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_HOSTS = "/etc/hosts"
_STUB_RESOLVER = "127.0.0.53"
_RESOLV_CONF = "/etc/resolv.conf"
_RESOLVED_CONF = "/run/systemd/resolve/resolv.conf"


def is_ip(text: str) -> bool:
    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


def _is_word(text: str) -> bool:
    return bool(text) and text.isprintable() and not any(character in " #" for character in text)


def parse_add_host(text: str) -> tuple[str, list[str]]:
    """`--add-host NAME[;NAME...]:IP` (or `=`) as (IP, names); the IP may be IPv6 (bracketed or not) or `host-gateway`.

    Raises UsageError.
    """
    where = f'--add-host "{text}"'
    colon, equals = text.find(":"), text.find("=")
    names, separator, address = text.partition("=" if 0 <= equals < colon or colon < 0 else ":")
    if not separator:
        raise UsageError(f"{where}: no address", "write it like db:192.0.2.7")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    found = names.split(";")
    if not all(_is_word(name) for name in found):
        raise UsageError(f"{where}: {names!r} is not a host name", "write it like db:192.0.2.7")
    if address != "host-gateway" and not is_ip(address):
        raise UsageError(f"{where}: {address!r} is not an IP address", "write it like db:192.0.2.7")
    return address, found


def hosts(
    names: list[str], address: str | None, extra: list[str], host_address: str | None = None, host_text: str = ""
) -> str:
    """Content of /etc/hosts.

    `names`: the container's own (hostname, name, aliases), reached at `address`, which is None on the host's network;
    `extra`: --add-host as typed, which win over what follows; `host_address`: how the container reaches the host, if it
    can; `host_text`: `host_hosts()`, of which those names are taken over that nothing else here has defined. Raises
    UsageError, also for `host-gateway` where the host cannot be reached.
    """
    lines = []
    for text in extra:
        target, aliases = parse_add_host(text)
        if target == "host-gateway":
            if host_address is None:
                raise UsageError(f'--add-host "{text}": the host has no address that this container could reach')
            target = host_address
        lines.append(f"{target}\t{' '.join(aliases)}\n")
    lines.append(_LOCAL)
    if host_address is not None:
        lines.append(f"{host_address}\t{HOST_NAMES}\n")
    own = [name for number, name in enumerate(names) if name and name not in names[:number]]
    if address is not None and own:
        lines.append(f"{address}\t{' '.join(own)}\n")
    if host_text:
        defined = {word for line in "".join(lines).splitlines() for word in line.split()[1:]}
        for target, aliases in parse_hosts(host_text):
            left = [name for name in aliases if name not in defined]
            if left:
                lines.append(f"{target}\t{' '.join(left)}\n")
    return "".join(lines)


def parse_hosts(text: str) -> list[tuple[str, list[str]]]:
    """(address, names) of every line of a hosts file that has both; other lines and comments are passed over."""
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and is_ip(words[0].partition("%")[0]):
            found.append((words[0], words[1:]))
    return found


def host_hosts() -> str:
    """The host's /etc/hosts; "" without one."""
    return _read(_HOSTS)


def host_address() -> str | None:
    """The address from which the host would speak to the world (no packet is sent), or None without a route."""
    for family, beyond in ((_socket.AF_INET, "192.0.2.1"), (_socket.AF_INET6, "2001:db8::1")):
        try:
            handle = _socket.socket(family, _socket.SOCK_DGRAM)
        except OSError:  # a kernel without this family
            continue
        try:
            handle.connect((beyond, 9))
            return str(handle.getsockname()[0])
        except OSError:
            continue
        finally:
            handle.close()
    return None


def check_dns(servers: list[str], search: list[str], options: list[str]) -> None:
    """Raise UsageError where a --dns, --dns-search or --dns-option cannot stand in a resolv.conf."""
    for server in servers:
        if not is_ip(server):
            raise UsageError(
                f'--dns "{server}": not an IP address', "name servers are given by address, like 192.0.2.53"
            )
    for flag, words in (("--dns-search", search), ("--dns-option", options)):
        for word in words:
            if not _is_word(word):
                raise UsageError(f'{flag} "{word}": not a single word')


def resolv_conf(
    servers: list[str],
    search: list[str],
    options: list[str],
    helper_address: str | None = None,
    host_text: str | None = None,
    shares_host: bool = False,
) -> str:
    """Content of /etc/resolv.conf.

    `servers`, `search`, `options`: --dns, --dns-search (`.` alone: none), --dns-option, each in place of the host's;
    `helper_address`: the name server that the network helper answers at, asked first unless `servers` are given;
    `host_text`: `host_resolv_conf()`, or None where the container has no network; `shares_host`: the container is on
    the host's network, where name servers on the host's loopback serve it too. Raises UsageError.
    """
    check_dns(servers, search, options)
    host_servers, host_search, host_options = parse_resolv_conf(host_text or "")
    if not servers:
        servers = [server for server in host_servers if shares_host or not _is_loopback(server)]
        if helper_address is not None:
            servers = [helper_address, *servers]
    search = [] if search == ["."] else search or host_search
    lines = [f"search {' '.join(search)}\n"] if search else []
    lines += [f"nameserver {server}\n" for server in servers]
    options = options or host_options
    if options:
        lines.append(f"options {' '.join(options)}\n")
    return "".join(lines)


def parse_resolv_conf(text: str) -> tuple[list[str], list[str], list[str]]:
    """Name servers, search domains (the last `search` or `domain` line counts) and options."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return servers, search, options


def host_resolv_conf() -> str:
    """The host's resolver configuration; behind systemd-resolved's stub, the servers that it asks. "" without one."""
    text = _read(_RESOLV_CONF)
    if _STUB_RESOLVER in text and parse_resolv_conf(text)[0] == [_STUB_RESOLVER]:
        return _read(_RESOLVED_CONF) or text
    return text


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"
