"""Before a log that was begun anew may be removed: those who follow it open the files that they have not read yet."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.monitor.attach_server import Client

_PATIENCE = 2.0  # seconds that a follower may take; a stopped one takes them


def let_open(followers: list[Client]) -> None:
    """Tell them that all is written, and wait until they have answered, have gone, or have had their time."""
    deadline = time.monotonic() + _PATIENCE
    for client in followers:
        client.offer(b"D")
    waiting = {client.socket.fileno(): client for client in followers if not client.gone}
    while waiting and (left := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(int(left * 1000) + 1):
            if waiting[fd].receive() in (b"", b"K"):
                del waiting[fd]
