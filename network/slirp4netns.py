"""slirp4netns: a container's own network stack, without privileges, one process per container (slirp4netns(1)).

What was measured (2-core VM, slirp4netns 1.2.0, medians, from posix_spawn to the byte on --ready-fd):

    bare                                                    2.5 ms
    --enable-sandbox                                       +0.3
    --enable-seccomp                                       +0.3
    --enable-ipv6, --mtu, API socket                       +0.0
    from the closed --exit-fd until the process is gone    20 to 28

So both protections are on: 0.6 ms that pass beside the mounts. The sandbox needs the container's id map in place (it
becomes uid 0 there), so the helper cannot start before newuidmap is done; from then on it overlaps with everything up
to the exec. Its end is slow because the kernel waits out an RCU grace period for the tap device: `stop` does not wait
for it, except where it serves published ports, which must be free again when the command returns.
"""

from __future__ import annotations

import errno
import os
import select

import rootless
from network.descriptors import close_all_but
from network.slirp_options import PROGRAM, Options
from rootless.errors import NetworkError
from rootless.kernel.pidfd import open_pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from network.ports import Port

INTERFACE = "tap0"
_STOP_SECONDS = 5.0


class Helper:
    """A running slirp4netns, and what serves the ports of its container: our children.

    Both end when `exit_fd`, or the last copy of it, is closed. `target`: a process in the container's namespaces, and
    `options`: needed to publish ports. `forwarder`: pid of the process that serves them, -1 where there is none.
    """

    __slots__ = (
        "_ready_fd",
        "api_socket",
        "exit_fd",
        "forwarder",
        "log_path",
        "options",
        "pid",
        "published",
        "target",
    )

    def __init__(
        self,
        pid: int,
        exit_fd: int,
        ready_fd: int,
        log_path: str,
        api_socket: str | None,
        target: int = -1,
        options: Options | None = None,
    ) -> None:
        self.pid = pid
        self.exit_fd = exit_fd
        self.log_path = log_path
        self.api_socket = api_socket
        self.target = target
        self.options = options or Options()
        self.forwarder = -1
        self.published: list[Port] = []
        self._ready_fd = ready_fd

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Return once the container's interface is up; else reap it and raise NetworkError with its own reason."""
        if self._ready_fd < 0:
            return
        poller = select.poll()
        poller.register(self._ready_fd, select.POLLIN)
        ready = os.read(self._ready_fd, 1) if poller.poll(timeout * 1000) else None
        os.close(self._ready_fd)
        self._ready_fd = -1
        if ready == b"1":
            return
        late = ready is None
        reason = f"not ready after {timeout:g} seconds" if late else self.last_words()
        if late:
            os.kill(self.pid, 9)
        self._reap()
        self._close_exit_fd()
        raise NetworkError(f"starting slirp4netns: {reason}", _hint(reason))

    def publish(self, ports: list[Port]) -> None:
        """Forward `ports` (host ports decided) into the container. Raises NetworkError naming the refused one."""
        if self.options.port_handler == PROGRAM:
            from network.hostfwd import add_hostfwd

            for port in ports:
                add_hostfwd(self.api_socket or "", port)
                self.published.append(port)
            return
        from network.forward import forward

        exit_read = os.open(f"/proc/self/fd/{self.exit_fd}", os.O_RDONLY | os.O_CLOEXEC)  # its other end
        try:
            self.forwarder = forward(ports, self.target, self.options.container_address, exit_read, self.log_path)
        finally:
            os.close(exit_read)
        self.published += ports

    def last_words(self) -> str:
        """Why it ended, from what it wrote: the lines that are neither warnings nor its banner."""
        try:
            with open(self.log_path, "rb") as file:
                lines = file.read(65536).decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        told = [line.strip() for line in lines if line.strip() and not line.startswith(_CHATTER)]
        return "; ".join(told[-3:]) or "it ended without a word"

    def stop(self) -> None:
        """Tell both to end. Waits only for the one that listens on published ports, so that they are free then."""
        self._close_exit_fd()
        if self.forwarder >= 0:
            self._end_forwarder()
        elif self.published:
            self._wait()

    def _end_forwarder(self) -> None:
        try:
            if os.waitpid(self.forwarder, os.WNOHANG)[0] == 0:
                os.kill(self.forwarder, 9)
                os.waitpid(self.forwarder, 0)
        except ChildProcessError:  # ended, and reaped by the monitor
            pass
        self.forwarder = -1

    def _wait(self) -> None:
        try:
            pidfd = open_pidfd(self.pid)
        except OSError:  # gone and reaped already
            return
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(_STOP_SECONDS * 1000):
            os.kill(self.pid, 9)
        self._reap()
        os.close(pidfd)

    def _reap(self) -> None:
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:  # the monitor reaps every child, also this one
            pass

    def _close_exit_fd(self) -> None:
        if self.exit_fd >= 0:
            os.close(self.exit_fd)
            self.exit_fd = -1


_CHATTER = (
    "sent tapfd",
    "received tapfd",
    "Starting slirp",
    "WARNING",
    "* ",
    "parent failed",
    "child failed",
    "seccomp: The following",
    "api_handler:",
    "apifd event",
    "exitfd event",
    "do_slirp",
)


def start(pid: int, options: Options, log_path: str, api_socket: str | None = None) -> Helper:
    """Start slirp4netns for the namespaces of process `pid`, whose ids must be mapped; returns at once.

    `pid` is a child of ours, not yet waited for, that lives until `Helper.wait_ready` has returned and is dumpable
    (PR_SET_DUMPABLE) whatever user it has become. `log_path`: file for what the helper says (made anew). `api_socket`:
    where slirp4netns takes orders if it is to publish ports; its directory must be ours alone. Only for a process with
    a single thread: the working directory changes for a moment. Raises NetworkError where slirp4netns is not installed.
    """
    opened: list[int] = []

    def keep(fd: int) -> int:
        opened.append(fd)
        return fd

    exit_write = ready_read = -1
    try:
        exit_read, exit_write = os.pipe()
        keep(exit_read)
        ready_read, ready_write = os.pipe()
        keep(ready_write)
        null = keep(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
        log = keep(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600))
        words = [PROGRAM, "--configure", f"--exit-fd={exit_read}", f"--ready-fd={ready_write}"]
        words += ["--enable-sandbox", "--enable-seccomp", *options.arguments()]
        if options.port_handler != PROGRAM:
            api_socket = None
        if api_socket is not None:
            words.append(f"--api-socket={os.path.basename(api_socket)}")
        # By number, not by paths of namespaces: with those the sandbox of 1.2 never enters the user namespace (EPERM).
        words += [str(pid), INTERFACE]
        for fd in (exit_read, ready_write):
            os.set_inheritable(fd, True)
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
            *close_all_but([exit_read, ready_write]),
        ]
        helper_pid = _spawn(words, actions, os.path.dirname(api_socket) if api_socket is not None else None)
    except OSError as error:
        for fd in (exit_write, ready_read):
            if fd >= 0:
                os.close(fd)
        raise _start_error(error) from None
    finally:
        for fd in opened:
            os.close(fd)
    return Helper(helper_pid, exit_write, ready_read, log_path, api_socket, pid, options)


def _spawn(words: list[str], actions: list[tuple[Any, ...]], directory: str | None) -> int:
    """A session of its own, so that a Ctrl-C meant for the container does not take its network away.

    The socket is named relative to the working directory because its whole path may not fit into a socket address, and
    handing over a descriptor of the directory would undo the sandbox.
    """
    if rootless.debug:
        rootless.debug(f"starting {' '.join(words)}" + (f" (in {directory})" if directory is not None else ""))
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    if directory is None:
        return os.posix_spawnp(PROGRAM, words, environment, file_actions=actions, setsid=True, setsigmask=())
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(directory)
        try:
            return os.posix_spawnp(PROGRAM, words, environment, file_actions=actions, setsid=True, setsigmask=())
        finally:
            os.fchdir(before)
    finally:
        os.close(before)


def _start_error(error: OSError) -> NetworkError:
    without = "or use --network none or --network host"
    if error.filename != PROGRAM:
        return NetworkError(f"starting slirp4netns: {error.filename or 'a pipe'}: {error.strerror}")
    if error.errno == errno.ENOENT:
        hint = f"sudo apt-get install slirp4netns (or dnf), {without}"
        return NetworkError("starting slirp4netns: it is not installed", hint)
    return NetworkError(
        f"starting slirp4netns: the program of that name in PATH cannot be executed: {error.strerror}",
        f"install it anew: sudo apt-get install --reinstall slirp4netns (or dnf reinstall), {without}",
    )


def _hint(reason: str) -> str:
    if "/dev/net/tun" in reason:
        return (
            "sudo modprobe tun && sudo chmod 0666 /dev/net/tun "
            "(inside another container: give that one --device /dev/net/tun); or use --network none or --network host"
        )
    if "unrecognized option" in reason or "Usage:" in reason:
        return "slirp4netns 1.0 or newer is needed"
    return "see: rootless doctor; or use --network none or --network host"
