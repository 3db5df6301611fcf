"""Before a log that was begun anew may be removed: those who follow it open the files that they have not read yet."""

from __future__ import annotations

import _socket
import select
import time

from rootless.engine.monitor.attach_server import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATIENCE = 2.0  # seconds that a follower may take; a stopped one takes them


def let_open(clients: dict[int, Client], server: Any) -> None:
    """Tell those who read the log that all is written, and wait until they have answered, have gone, or have had their
    time. Who has connected while we were busy is taken up among the `clients` (descriptor -> client)."""
    while server is not None:
        try:
            fd, _ = server._accept()
        except OSError:  # nobody is left
            break
        clients[fd] = Client(_socket.socket(fileno=fd))
    waiting = {}
    for fd, client in clients.items():
        while not client.reads_log and (message := client.receive()):
            client.reads_log = message == b"L"
        if client.reads_log:
            client.offer(b"D")
            waiting[fd] = client
    deadline = time.monotonic() + _PATIENCE
    while waiting and (left := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(int(left * 1000) + 1):
            if waiting[fd].receive() in (b"", b"K"):
                del waiting[fd]
