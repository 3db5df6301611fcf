"""slirp4netns: a container's own network stack, without privileges, one process per container (slirp4netns(1)).

What was measured (2-core VM, slirp4netns 1.2.0, medians, from posix_spawn to the byte on --ready-fd):

    bare                                                    2.5 ms
    --enable-sandbox                                       +0.3
    --enable-seccomp                                       +0.3
    --enable-ipv6, --mtu, API socket                       +0.0
    add_hostfwd, each                                       0.7
    from the closed --exit-fd until the process is gone    20 to 28

So both protections are on: 0.6 ms that pass beside the mounts. The sandbox needs the container's id map in place (it
becomes uid 0 there), so the helper cannot start before newuidmap is done; from then on it overlaps with everything up
to the exec. Its end is slow because the kernel waits out an RCU grace period for the tap device: `stop` does not wait
for it, except where ports are published, which must be free again when the command returns.
"""

from __future__ import annotations

import _socket
import errno
import os
import select

from network.ports import Port, check_free
from rootless.errors import NetworkError, UsageError
from rootless.jsontext import dumps, loads

INTERFACE = "tap0"
_PROGRAM = "slirp4netns"
_SWITCHES = {"true": True, "false": False}
_STOP_SECONDS = 5.0
_API_SECONDS = 10.0


class Options:
    """`--network slirp4netns:KEY=VALUE,...`; `cidr` is the container's IPv4 network, `mtu` in bytes."""

    __slots__ = ("allow_host_loopback", "cidr", "enable_ipv6", "mtu", "outbound_addr", "outbound_addr6")

    def __init__(self) -> None:
        self.allow_host_loopback = False
        self.cidr = "10.0.2.0/24"
        self.enable_ipv6 = True
        self.mtu = 65520
        self.outbound_addr: str | None = None
        self.outbound_addr6: str | None = None

    def _address(self, number: int) -> str:
        network = int.from_bytes(_socket.inet_pton(_socket.AF_INET, self.cidr.partition("/")[0]), "big")
        return _socket.inet_ntop(_socket.AF_INET, (network + number).to_bytes(4, "big"))

    @property
    def container_address(self) -> str:
        return self._address(100)

    @property
    def gateway(self) -> str:
        """Also the host's loopback, where `allow_host_loopback` is set."""
        return self._address(2)

    @property
    def name_server(self) -> str:
        """Where the helper passes look-ups on to the host's own name servers."""
        return self._address(3)

    def arguments(self) -> list[str]:
        words = [f"--mtu={self.mtu}", f"--cidr={self.cidr}"]
        if not self.allow_host_loopback:
            words.append("--disable-host-loopback")
        if self.enable_ipv6:
            words.append("--enable-ipv6")
        if self.outbound_addr is not None:
            words.append(f"--outbound-addr={self.outbound_addr}")
        if self.outbound_addr6 is not None:
            words.append(f"--outbound-addr6={self.outbound_addr6}")
        return words


def parse_options(text: str) -> Options:
    """The part of `--network slirp4netns:...` behind the colon, "" for the defaults. Raises UsageError."""
    options = Options()
    for word in filter(None, text.split(",")):
        key, equals, value = word.partition("=")
        where = f'--network slirp4netns option "{word}"'
        if not equals or not value:
            raise UsageError(f"{where}: no value", "write it like mtu=1500")
        if key in ("allow_host_loopback", "enable_ipv6"):
            if value not in _SWITCHES:
                raise UsageError(f"{where}: neither true nor false")
            setattr(options, key, _SWITCHES[value])
        elif key == "mtu":
            if not (value.isascii() and value.isdigit() and len(value) < 6 and 68 <= int(value) <= 65521):
                raise UsageError(f"{where}: not a size between 68 and 65521 bytes")
            options.mtu = int(value)
        elif key == "cidr":
            options.cidr = _check_cidr(value, where)
        elif key == "outbound_addr":
            options.outbound_addr = value
        elif key == "outbound_addr6":
            options.outbound_addr6 = value
        elif key == "port_handler":
            if value != "slirp4netns":
                raise UsageError(
                    f"{where}: there is no such port handler", "leave it out, or use port_handler=slirp4netns"
                )
        else:
            raise UsageError(
                f"{where}: there is no such option",
                "known: allow_host_loopback cidr enable_ipv6 mtu outbound_addr outbound_addr6 port_handler",
            )
    return options


def _check_cidr(text: str, where: str) -> str:
    address, _, length = text.partition("/")
    try:
        network = int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big")
    except (OSError, ValueError):
        network = -1
    if network < 0 or not (length.isascii() and length.isdigit() and len(length) < 3 and 1 <= int(length) <= 25):
        raise UsageError(
            f"{where}: not an IPv4 network with a prefix of 1 to 25 bits", "write it like cidr=10.0.3.0/24"
        )
    if network & ((1 << (32 - int(length))) - 1):
        raise UsageError(
            f"{where}: {address} is an address in that network, not its first", "write it like cidr=10.0.3.0/24"
        )
    return text


class Helper:
    """A running slirp4netns: our child. It ends when `exit_fd`, or the last copy of it, is closed."""

    __slots__ = ("_ready_fd", "api_socket", "exit_fd", "log_path", "pid", "published")

    def __init__(self, pid: int, exit_fd: int, ready_fd: int, log_path: str, api_socket: str | None) -> None:
        self.pid = pid
        self.exit_fd = exit_fd
        self.log_path = log_path
        self.api_socket = api_socket
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
        for port in ports:
            arguments = {
                "proto": port.protocol,
                "host_addr": port.host_ip or "0.0.0.0",
                "host_port": port.host_port,
                "guest_port": port.container_port,
            }
            answer = self._ask({"execute": "add_hostfwd", "arguments": arguments})
            if "return" not in answer:
                raise _refusal(port, answer)
            self.published.append(port)

    def _ask(self, request: dict[str, object]) -> dict[str, object]:
        """One request per connection, ended by shutting down our side (slirp4netns(1), API SOCKET)."""
        if self.api_socket is None:
            raise NetworkError("publishing a port: this slirp4netns was started without an API socket")
        directory, _, name = self.api_socket.rpartition("/")
        try:
            directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # through the directory: the whole path may exceed the 107 bytes of a socket address
                answer = _converse(f"/proc/self/fd/{directory_fd}/{name}", dumps(request).encode())
            finally:
                os.close(directory_fd)
            parsed = loads(answer)
        except (OSError, ValueError) as error:
            raise NetworkError(
                f"publishing a port: slirp4netns does not answer: {error}", f"see {self.log_path}"
            ) from None
        return parsed if isinstance(parsed, dict) else {}

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
        """Tell it to end. Waits for that only where ports are published, so that they are free when this returns."""
        self._close_exit_fd()
        if not self.published:
            return
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:  # gone and reaped already
            return
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(_STOP_SECONDS * 1000):
            os.kill(self.pid, 9)
        self._reap()
        os.close(pidfd)

    def has_ended(self) -> bool:
        """True once it has ended (it is reaped then)."""
        return self._reap(os.WNOHANG)

    def _reap(self, flags: int = 0) -> bool:
        try:
            pid, _ = os.waitpid(self.pid, flags)
        except ChildProcessError:  # the monitor reaps every child, also this one
            return True
        return pid == self.pid

    def _close_exit_fd(self) -> None:
        if self.exit_fd >= 0:
            os.close(self.exit_fd)
            self.exit_fd = -1


def _converse(path: str, request: bytes) -> bytes:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_API_SECONDS)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(_socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer
    finally:
        connection.close()


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
    where to take orders, needed to publish ports; its directory must be ours alone. Only for a process with a single
    thread: the working directory changes for a moment. Raises NetworkError where slirp4netns is not installed.
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
        words = [_PROGRAM, "--configure", f"--exit-fd={exit_read}", f"--ready-fd={ready_write}"]
        words += ["--enable-sandbox", "--enable-seccomp", *options.arguments()]
        if api_socket is not None:
            words.append(f"--api-socket={os.path.basename(api_socket)}")
        # By number, not by paths of namespaces: with those the sandbox of 1.2 never enters the user namespace (EPERM).
        words += [str(pid), INTERFACE]
        for fd in (exit_read, ready_write):
            os.set_inheritable(fd, True)
        helper_pid = _spawn(words, null, log, os.path.dirname(api_socket) if api_socket is not None else None)
    except OSError as error:
        for fd in (exit_write, ready_read):
            if fd >= 0:
                os.close(fd)
        raise _start_error(error) from None
    finally:
        for fd in opened:
            os.close(fd)
    return Helper(helper_pid, exit_write, ready_read, log_path, api_socket)


def _spawn(words: list[str], null: int, log: int, directory: str | None) -> int:
    """A session of its own, so that a Ctrl-C meant for the container does not take its network away.

    The socket is named relative to the working directory because its whole path may not fit into a socket address, and
    handing over a descriptor of the directory would undo the sandbox.
    """
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    if directory is None:
        return os.posix_spawnp(_PROGRAM, words, environment, file_actions=actions, setsid=True, setsigmask=())
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(directory)
        try:
            return os.posix_spawnp(_PROGRAM, words, environment, file_actions=actions, setsid=True, setsigmask=())
        finally:
            os.fchdir(before)
    finally:
        os.close(before)


def _start_error(error: OSError) -> NetworkError:
    without = "or use --network none or --network host"
    if error.filename != _PROGRAM:
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


def _refusal(port: Port, answer: dict[str, object]) -> NetworkError:
    """slirp4netns does not say why; listening there ourselves does."""
    if ":" in port.host_ip:
        return NetworkError(
            f"publishing {port.host_address}/{port.protocol}: slirp4netns listens on IPv4 addresses only",
            "publish on an IPv4 address",
        )
    try:
        check_free([port])
    except NetworkError as error:
        return error
    error_part = answer.get("error")
    told = error_part.get("desc") if isinstance(error_part, dict) else answer
    return NetworkError(f"publishing {port.host_address}/{port.protocol}: slirp4netns refuses: {told}")
