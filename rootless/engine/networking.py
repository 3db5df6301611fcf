"""A container's network: which kind, the files in /etc that go with it, the helper that serves it."""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.jsontext import dumps
from rootless.kernel.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from network.ports import Port
    from network.slirp4netns import Helper
    from network.slirp_options import Options
    from rootless.engine.request import CreateRequest

NONE, HOST, SLIRP = "none", "host", "slirp4netns"


def parse_mode(text: str | None) -> tuple[str, str]:
    """(mode, options) of `--network`; slirp4netns where nothing is asked for. Raises UsageError."""
    mode, _, options = (text or SLIRP).partition(":")
    if mode in ("private", "default"):
        mode = SLIRP
    if mode == SLIRP or (mode in (NONE, HOST) and not options):
        return mode, options
    raise UsageError(f"--network {text}: not supported", "use slirp4netns[:OPTIONS], host or none")


def as_column(mode: str, options: str) -> str:
    """The value of the column `network`."""
    return dumps({"mode": mode, "options": options} if options else {"mode": mode})


def parse_ports(request: CreateRequest, mode: str, starting: bool) -> list[Port]:
    """The published ports, random host ports chosen; `starting`: all of them must be free now.

    Raises UsageError, NetworkError.
    """
    if not request.publish:
        return []
    from network.ports import check_free, parse_all

    if mode != SLIRP:
        raise UsageError(
            f"--publish with --network {mode}: there is nothing to publish",
            "with --network host the container's ports are the host's"
            if mode == HOST
            else "leave --network out, or use --network slirp4netns",
        )
    ports = parse_all(request.publish)
    return check_free(ports) if starting else [port if port.host_port else check_free([port])[0] for port in ports]


def publish_all(request: CreateRequest, image: dict[str, Any]) -> None:
    """For --publish-all: have every port that the image or --expose names published, unless it is already."""
    from network.ports import parse_publish

    taken = {(port.container_port, port.protocol) for text in request.publish for port in parse_publish(text)}
    names = [name if "/" in name else name + "/tcp" for name in image.get("ExposedPorts") or {}]
    for name in dict.fromkeys([*exposed_ports(names), *exposed_ports(request.expose)]):
        number, _, protocol = name.partition("/")
        if (int(number), protocol) not in taken:
            request.publish.append(name)


def check(request: CreateRequest, network: tuple[str, str]) -> None:
    """Raise UsageError where the options of the network or of its files make no sense."""
    mode, options = network
    if options:
        slirp_options(options)
    if request.no_hosts and (request.add_host or request.hosts_file):
        option = "--add-host" if request.add_host else "--hosts-file"
        raise UsageError(f"--no-hosts and {option} contradict each other", "leave one of them out")
    if request.dns or request.dns_search or request.dns_option or request.add_host or request.hosts_file:
        etc_files(request, mode, options, "", "")
    exposed_ports(request.expose)


def exposed_ports(texts: list[str]) -> list[str]:
    """Every port that `--expose` names, as "80/tcp". Raises UsageError."""
    if not texts:
        return []
    from network.ports import parse_expose

    return [f"{port}/{protocol}" for text in texts for port, protocol in parse_expose(text)]


def slirp_options(text: str) -> Options:
    """What stands behind `slirp4netns:`. Raises UsageError."""
    from network.slirp_options import parse_options

    return parse_options(text)


def etc_files(request: CreateRequest, mode: str, options: str, hostname: str, name: str) -> dict[str, str]:
    """Contents of /etc/hosts, /etc/resolv.conf and /etc/hostname by name of the file. Raises UsageError."""
    from network import files

    address = gateway = name_server = None
    if mode == SLIRP:
        slirp = slirp_options(options)
        address, name_server = slirp.container_address, slirp.name_server
        gateway = slirp.gateway if slirp.allow_host_loopback else files.host_address()
    elif mode == HOST:
        gateway = "127.0.0.1"
    else:
        address = "127.0.0.1"
    found = {} if request.no_hostname else {"hostname": hostname + "\n"}
    if not request.no_hosts:
        names = [f"{hostname}.{request.domainname}", hostname, name] if request.domainname else [hostname, name]
        base = files.host_hosts() if request.hosts_file is None else _base_hosts(request.hosts_file)
        found["hosts"] = files.hosts(names, address, request.add_host, gateway, base)
    found["resolv.conf"] = files.resolv_conf(
        request.dns,
        request.dns_search,
        request.dns_option,
        name_server,
        None if mode == NONE else files.host_resolv_conf(),
        mode == HOST,
    )
    return found


def _base_hosts(path: str) -> str:
    """The text of --hosts-file, whose names are taken over: a file of the host, or none. Raises UsageError."""
    if path == "none":
        return ""
    if not path.startswith("/"):
        raise UsageError(f"--hosts-file {path}: neither none nor an absolute path")
    from rootless.kernel.fifos import open_to_read

    try:
        with open(path, encoding="utf-8", errors="replace", opener=open_to_read) as file:
            return file.read(1 << 20)
    except OSError as error:
        raise UsageError(f"--hosts-file {path}: {error.strerror}") from None


def write_etc_files(directory: str, found: dict[str, str]) -> list[dict[str, Any]]:
    """Write them to the run directory; returns the mounts that bring them into the container."""
    mounts = []
    for name, content in found.items():
        fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)  # whatever the umask: the container's users read it
            write_all(fd, content.encode())
        finally:
            os.close(fd)
        mounts.append(
            {
                "destination": f"/run/{name}" if name[0] == "." else f"/etc/{name}",
                "type": "bind",
                "source": f"{directory}/{name}",
                "options": ["bind", "rprivate"],
            }
        )
    return mounts


def prepare() -> None:
    """In the container's new network namespace, before the helper enters it."""
    from network.ipv6 import skip_address_detection

    skip_address_detection()


def start_helper(pid: int, mode: str, options: str, directory: str, ports: list[Port]) -> Helper | None:
    """Start slirp4netns for the namespaces of `pid`, where the mode asks for it. Raises NetworkError."""
    if mode != SLIRP:
        return None
    from network.slirp4netns import start

    api = f"{directory}/slirp.sock" if ports else None
    return start(pid, slirp_options(options), f"{directory}/slirp.log", api)
