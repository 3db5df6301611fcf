"""Ports published by slirp4netns itself (`port_handler=slirp4netns`), through its API socket: slirp4netns(1).

The container then sees who connects; network.forward tells what is lost.
"""

from __future__ import annotations

import _socket
import os

import rootless
from network.ports import Port, check_free
from rootless.errors import NetworkError
from rootless.jsontext import dumps, loads

_SECONDS = 10.0


def add_hostfwd(api_socket: str, port: Port) -> None:
    """Make slirp4netns listen on `port`. Raises NetworkError with the reason, which we find out ourselves."""
    arguments = {
        "proto": port.protocol,
        "host_addr": port.host_ip or "0.0.0.0",
        "host_port": port.host_port,
        "guest_port": port.container_port,
    }
    if rootless.debug:
        rootless.debug(f"asking slirp4netns at {api_socket} for {arguments}")
    answer = _ask(api_socket, {"execute": "add_hostfwd", "arguments": arguments})
    if "return" in answer:
        return
    if ":" in port.host_ip:
        raise NetworkError(
            f"publishing {port.host_address}/{port.protocol}: slirp4netns listens on IPv4 addresses only",
            "leave out port_handler=slirp4netns, or publish on an IPv4 address",
        )
    check_free([port])
    error = answer.get("error")
    told = error.get("desc") if isinstance(error, dict) else answer
    raise NetworkError(f"publishing {port.host_address}/{port.protocol}: slirp4netns refuses: {told}")


def _ask(api_socket: str, request: dict[str, object]) -> dict[str, object]:
    """One request per connection, ended by shutting down our side."""
    directory, _, name = api_socket.rpartition("/")
    try:
        directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # through the directory: the whole path may exceed the 107 bytes of a socket address
            answer = loads(_converse(f"/proc/self/fd/{directory_fd}/{name}", dumps(request).encode()))
        finally:
            os.close(directory_fd)
    except (OSError, ValueError) as error:
        raise NetworkError(f"publishing a port: slirp4netns does not answer: {error}") from None
    return answer if isinstance(answer, dict) else {}


def _converse(path: str, request: bytes) -> bytes:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_SECONDS)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(_socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer
    finally:
        connection.close()
