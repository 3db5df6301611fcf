"""The process that serves a container's published ports; started by network.forward, ends with the monitor.

    main(["USERNS_FD", "NETNS_FD", "EXIT_FD", "ADDRESS", "LISTENER_FD:PORT/PROTOCOL", ...])

It enters the user and network namespaces, gives up every capability, and copies between each client and a
connection of its own to ADDRESS:PORT there. A half-closed connection stays open in the other direction; a container
that refuses a connection is seen by the client as a reset.
"""

from __future__ import annotations

import os

from network.forward_loop import Loop
from network.forward_tcp import StreamPort
from network.forward_udp import DatagramPort
from rootless.kernel.capabilities import set_capabilities
from rootless.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, setns
from rootless.kernel.process import set_no_new_privs, set_process_name


def main(words: list[str]) -> None:
    """Serve until EXIT_FD hangs up."""
    userns, netns, exit_fd, address, *listeners = words
    for fd, flag in ((int(userns), CLONE_NEWUSER), (int(netns), CLONE_NEWNET)):
        setns(fd, flag)
        os.close(fd)
    set_no_new_privs()
    set_capabilities(0, 0, 0)
    set_process_name("rootless-ports")
    _raise_descriptor_limit()
    loop = Loop()
    for listener in listeners:
        number, _, target = listener.partition(":")
        port, _, protocol = target.partition("/")
        serve = StreamPort if protocol == "tcp" else DatagramPort
        serve(loop, int(number), (address, int(port)))
    loop.run(int(exit_fd))


def _raise_descriptor_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
