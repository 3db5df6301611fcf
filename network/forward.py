"""Published ports, served by a process of our own (network.forwarder) beside the container.

slirp4netns can forward ports too (`port_handler=slirp4netns`), but only from IPv4 addresses, with a backlog of one
connection, and while the host's loopback is closed to the container it does not answer UDP from there. So the monitor
listens itself, which makes a busy port an error before the container's program runs, and hands the sockets to a process
that has entered the container's network namespace and connects there. Nobody waits for that process: what comes
meanwhile queues up in the sockets.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys

import rootless
from network.descriptors import close_all_but
from network.ports import Port, bind_error
from rootless.errors import NetworkError
from rootless.kernel.namespaces import open_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BACKLOG = 4096
_CODE = "import sys; sys.path.append(sys.argv[1]); from network.forwarder import main; main(sys.argv[2:])"


def forward(ports: list[Port], pid: int, address: str, exit_fd: int, log_path: str) -> int:
    """Listen on `ports` and pass all that comes to `address` in the network namespace of `pid`; the forwarder's pid.

    It ends when the other end of the pipe `exit_fd` is closed, and is our child. `log_path`: appended to. `pid` need
    only live until this returns. Raises NetworkError naming a port that cannot be had.
    """
    listeners: list[tuple[_socket.socket, Port]] = []
    try:
        for port in ports:
            listeners += [(listener, port) for listener in _listen(port)]
        return _spawn(listeners, pid, address, exit_fd, log_path)
    finally:
        for listener, _ in listeners:
            listener.close()


def _listen(port: Port) -> list[_socket.socket]:
    """The sockets of one port: two, IPv4 and IPv6, where no address was given."""
    if port.host_ip:
        return [_bound(port, port.family, port.host_ip)]
    found = [_bound(port, _socket.AF_INET, "0.0.0.0")]
    try:
        found.append(_bound(port, _socket.AF_INET6, "::"))
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # a host without IPv6
            raise
    except NetworkError:
        found[0].close()
        raise
    return found


def _bound(port: Port, family: int, host_ip: str) -> _socket.socket:
    stream = port.protocol == "tcp"
    listener = _socket.socket(family, _socket.SOCK_STREAM if stream else _socket.SOCK_DGRAM)
    try:
        if family == _socket.AF_INET6:
            listener.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if stream:  # connections of the past in TIME_WAIT do not count
            listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind((host_ip, port.host_port))
        if stream:
            listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if not port.host_ip and error.errno == errno.EADDRNOTAVAIL:
            raise
        raise bind_error(Port(host_ip, port.host_port, port.container_port, port.protocol), error) from None
    return listener


def _spawn(listeners: list[tuple[_socket.socket, Port]], pid: int, address: str, exit_fd: int, log_path: str) -> int:
    place = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    opened: list[int] = []
    try:
        for kind in ("user", "net"):
            opened.append(open_namespace(pid, kind))
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        opened.append(log)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        opened.append(null)
        words = [sys.executable, "-I", "-S", "-c", _CODE, place, *map(str, opened[:2]), str(exit_fd), address]
        words += [f"{listener.fileno()}:{port.container_port}/{port.protocol}" for listener, port in listeners]
        given = [*opened[:2], exit_fd, *(listener.fileno() for listener, _ in listeners)]
        for fd in given:
            os.set_inheritable(fd, True)
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
            *close_all_but(given),
        ]
        if rootless.debug:
            rootless.debug(f"starting the port forwarder to {address}: {' '.join(words[-len(listeners) :])}")
        return os.posix_spawn(sys.executable, words, {}, file_actions=actions, setsid=True, setsigmask=())
    except OSError as error:
        raise NetworkError(f"publishing ports: {error}") from None
    finally:
        os.set_inheritable(exit_fd, False)
        for fd in opened:
            os.close(fd)
