"""What `inspect` shows of a container's network and ports."""

from __future__ import annotations

from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container


def port_map(ports: list[list[Any]]) -> dict[str, list[dict[str, str]]]:
    """Published ports, rows of (host address, host port, container port, protocol), by "80/tcp"."""
    found: dict[str, list[dict[str, str]]] = {}
    for host_ip, host_port, container_port, protocol in ports:
        binding = {"HostIp": host_ip or "0.0.0.0", "HostPort": str(host_port)}
        found.setdefault(f"{container_port}/{protocol}", []).append(binding)
    return found


def network_settings(container: Container, ports: list[list[Any]], request: dict[str, Any]) -> dict[str, Any]:
    """The object `NetworkSettings`. `ports` as in `port_map`; `request` is what the container was made with."""
    network = loads(container.network)
    address = gateway = ""
    length = 0
    if network.get("mode") == "slirp4netns" and container.alive:
        from rootless.engine.networking import slirp_options

        options = slirp_options(network.get("options", ""))
        address, gateway = options.container_address, options.gateway
        length = int(options.cidr.partition("/")[2])
    published: dict[str, Any] = dict.fromkeys(exposed(request))
    published |= port_map(ports)
    endpoint = {
        "EndpointID": "",
        "Gateway": gateway,
        "IPAddress": address,
        "IPPrefixLen": length,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
    }
    mode = network.get("mode", "")
    return {
        **endpoint,
        "Bridge": "",
        "SandboxID": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": published,
        "SandboxKey": f"/proc/{container.pid}/ns/net" if container.pid else "",
        "Networks": {
            mode: {**endpoint, "NetworkID": mode, "DriverOpts": None, "IPAMConfig": None, "Links": None},
        },
    }


def exposed(request: dict[str, Any]) -> list[str]:
    """What the image and --expose say the container listens on, as "80/tcp"."""
    names = list(request.get("image_config", {}).get("ExposedPorts") or {})
    found = {name if "/" in name else name + "/tcp" for name in names}
    if request.get("expose"):
        from rootless.engine.networking import exposed_ports

        found.update(exposed_ports(request["expose"]))
    return sorted(found)
