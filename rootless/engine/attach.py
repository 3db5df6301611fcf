"""Following a container from another process: its output to ours, our input to it, its exit code. See attach_server."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import select

from rootless.engine.logplace import PASSTHROUGH
from rootless.engine.monitor.attach_server import SOCKET_NAME
from rootless.engine.monitor.streams import CHUNK, read
from rootless.errors import ConflictError, RootlessError, UsageError
from rootless.kernel import pidfd, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

DETACH_KEYS = "ctrl-p,ctrl-q"
_MOST_PENDING = 16  # messages of input that wait for the monitor


def parse_detach_keys(text: str | None) -> bytes:
    """`ctrl-p,ctrl-q`, `a`, `ctrl-@` as the bytes that they are typed as; "" means none. Raises UsageError."""
    keys = b""
    for word in (DETACH_KEYS if text is None else text).split(","):
        if len(word) == 1 and word.isascii():
            keys += word.encode()
        elif word.lower().startswith("ctrl-") and len(word) == 6 and "@" <= word[5].upper() <= "_":
            keys += bytes([ord(word[5].upper()) & 0x1F])
        elif word or text:
            raise UsageError(f"--detach-keys {text}: {word!r} is not a key", "write it like ctrl-p,ctrl-q")
    return keys


def connect(store: Store, container_id: str) -> Any:
    """A connection to the container's monitor, or None where nobody listens."""
    try:
        place = os.open(f"{store.runroot}/containers/{container_id}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{place}/{SOCKET_NAME}")
    except OSError:
        connection.close()
        return None
    finally:
        os.close(place)
    return connection


def unreachable(store: Store, container: Container, doing: str) -> ConflictError:
    """The error for whoever is `doing` something with a container that runs, and finds nobody who listens."""
    path = f"{store.runroot}/containers/{container.id}/{SOCKET_NAME}"
    why = "cannot be reached" if os.path.lexists(path) else "is gone: something has removed it"
    return ConflictError(
        f"{doing} {container.name}: it is running, but its socket {path} {why}",
        f"what it has written: rootless logs {container.name}; a new socket: rootless restart {container.name}",
    )


def wait_end(connection: Any, timeout_ms: int | None = None) -> int | None:
    """The exit code, once the container has ended and that is recorded; None where the monitor vanished or
    `timeout_ms` passed before."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    while poll.poll(timeout_ms):
        try:
            message = connection.recv(CHUNK + 1)
        except OSError:
            return None
        if not message:
            return None
        if message[:1] == b"E":
            return int(message[1:])
    return None


def attach(
    store: Store,
    reference: str,
    stdin: bool = True,
    detach_keys: str | None = None,
    sig_proxy: bool = True,
    begin: Callable[[], None] | None = None,
) -> int:
    """Follow a running container until it ends, or the user detaches; its exit code (0 after detaching).

    `begin` lets one run that `init` has prepared, once we are connected. Raises NotFoundError, ConflictError where it
    does not run, what `begin` raises.
    """
    from rootless.engine.events import container_event
    from rootless.engine.recover import find
    from rootless.jsontext import loads

    keys = parse_detach_keys(detach_keys)
    container = find(store, reference)
    driver = loads(container.request).get("log_driver")
    if driver in PASSTHROUGH:
        raise ConflictError(
            f"attaching to {container.name}: it has the streams of the command that started it (--log-driver {driver})"
        )
    runs = container.alive and (begin is not None or not container.waits)
    if container.state == "paused":
        raise ConflictError(f"attaching to {container.name}: it is paused", f"rootless unpause {container.name}")
    connection = connect(store, container.id) if runs else None
    if connection is None:
        if runs and find(store, container.id).alive:  # it has not just ended
            raise unreachable(store, container, "attaching to")
        raise ConflictError(f"attaching to {container.name}: it is not running", f"rootless start {container.name}")
    try:
        connection.send(b"O")
    except OSError:
        pass  # it has just ended; what we were told of that is still to be read
    if begin is not None:
        begin()
    container_event(store, container, "attach")
    request = loads(container.request)
    tty = bool(request.get("tty"))
    process = (container.pid, container.pid_start, container.boot_id)
    return Attachment(connection, process, stdin and bool(request.get("interactive")), tty, keys, sig_proxy).follow()


class Attachment:
    """One client of a monitor. `process`: (pid, start time, realm) of pid 1, where signals are passed on to."""

    def __init__(
        self, connection: Any, process: tuple[int, int, str], stdin: bool, tty: bool, keys: bytes, sig_proxy: bool
    ) -> None:
        self._connection = connection
        self._process = process
        self._stdin = stdin
        self._tty = tty
        self._keys = keys if tty else b""
        self._matched = 0
        self._sig_proxy = sig_proxy
        self._hung_up = False
        self._size_due = False
        self._last_code: int | None = None  # of a container that its restart policy is about to start again
        self._pending: list[bytes] = []
        self._saved: list[Any] | None = None

    def follow(self) -> int:
        """Stay until the container has ended or the user detaches; its exit code, or 0.

        Raises RootlessError where the monitor is killed.
        """
        raw = self._tty and self._stdin and os.isatty(0)
        self._catch_signals()
        if self._tty:
            self._send_size()
        if raw:
            self._saved = terminal.set_raw(0)
        try:
            return self._follow()
        finally:
            if self._saved is not None:
                terminal.restore(0, self._saved)

    def _follow(self) -> int:
        link = self._connection.fileno()
        poll = select.poll()
        poll.register(link, select.POLLIN)
        reading = False
        while not self._hung_up:
            wanted = self._stdin and len(self._pending) < _MOST_PENDING
            if wanted != reading:
                reading = wanted
                if wanted:
                    poll.register(0, select.POLLIN)
                else:
                    poll.unregister(0)
            waiting = self._pending or self._size_due
            poll.modify(link, select.POLLIN | select.POLLOUT if waiting else select.POLLIN)
            for fd, events in poll.poll(1000):
                if fd == 0:
                    if self._take_input():
                        self._flush_all()
                        self._end_line()
                        return 0
                elif events & ~select.POLLOUT:
                    code = self._take_message()
                    if code is not None:
                        return code
                self._flush()
        return 129

    def _take_message(self) -> int | None:
        """Handle one message of the monitor; the exit code where it was the last."""
        try:
            message = self._connection.recv(CHUNK + 1, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:  # it has left something of ours unread; what it sent before that is still there
            return self._take_message()
        except OSError:
            message = b""
        kind = message[:1]
        if kind == b"E":
            return int(message[1:])
        if kind in (b"1", b"2"):
            _write_all(int(kind), memoryview(message)[1:])
        elif kind == b"R":
            self._last_code = int(message[1:])
        elif kind == b"P":
            pid, _, start = message[1:].partition(b",")
            self._process = (int(pid), int(start), self._process[2])
            self._last_code = None
            self._send_size()
        elif not message and self._last_code is not None:
            return self._last_code
        elif not message:
            raise RootlessError("the container was ended: its monitor was killed", exit_code=137)
        return None

    def _take_input(self) -> bool:
        """Pass on what was typed; whether it was the keys to detach with."""
        data = read(0)
        if data is None:
            return False
        if not data:
            self._stdin = False
            self._pending.append(b"C")
            return False
        passed, detach = self._look_for_keys(data)
        if passed:
            self._pending.append(b"I" + passed)
        return detach

    def _look_for_keys(self, data: bytes) -> tuple[bytes, bool]:
        """What of `data` to pass on, and whether the keys were complete. A beginning of them is held back."""
        keys = self._keys
        if not keys:
            return data, False
        passed = bytearray()
        for byte in data:
            while True:
                if byte == keys[self._matched]:
                    self._matched += 1
                    if self._matched == len(keys):
                        return bytes(passed), True
                    break
                if self._matched == 0:
                    passed.append(byte)
                    break
                # Not the keys after all: let go of the first of those held back, and look at the rest anew.
                held = keys[: self._matched]
                passed.append(held[0])
                self._matched = next(n for n in range(len(held) - 1, -1, -1) if keys.startswith(held[len(held) - n :]))
                passed += held[1 : len(held) - self._matched]
        return bytes(passed), False

    def _flush(self) -> None:
        if self._size_due:
            self._send_size()
        try:
            while self._pending:
                self._connection.send(self._pending[0], _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
                del self._pending[0]
        except BlockingIOError:
            pass
        except OSError:
            self._pending = []

    def _end_line(self) -> None:
        """The shell's prompt is not to stand behind what the container has written."""
        if self._saved is not None and os.isatty(1):
            _write_all(1, memoryview(b"\r\n"))

    def _flush_all(self) -> None:
        """Hand over what was typed before the keys to detach with."""
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLOUT)
        while self._pending and poll.poll(1000):
            self._flush()

    def _catch_signals(self) -> None:
        def resized(number: int, frame: object) -> None:
            self._send_size()

        def hung_up(number: int, frame: object) -> None:
            self._hung_up = True

        def pass_on(number: int, frame: object) -> None:
            found = pidfd.open_if_same(*self._process)
            if found is not None:
                pidfd.send(found, number)
                os.close(found)

        if self._tty:
            _signal.signal(_signal.SIGWINCH, resized)
            _signal.signal(_signal.SIGHUP, hung_up)
        if self._sig_proxy:
            for number in (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2):
                _signal.signal(number, pass_on)
            if not self._tty:
                _signal.signal(_signal.SIGHUP, pass_on)

    def _send_size(self) -> None:
        """Tell our terminal's size; where the link is full, `_flush` does it later.

        Signals call this too, so that it may run inside itself: the last to be sent is the one that is true.
        """
        self._size_due = False
        size, sent = terminal.size_of_ours(), None
        while size != sent and size is not None:
            try:
                self._connection.send(b"W%d,%d" % size, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._size_due = True
                return
            except OSError:
                return
            size, sent = terminal.size_of_ours(), size


def _write_all(fd: int, data: memoryview) -> None:
    """Write to our own output; nobody reading there is no reason to end the container that we merely watch."""
    try:
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:  # somebody else has made it non-blocking
                poll = select.poll()
                poll.register(fd, select.POLLOUT)
                poll.poll()
    except OSError:
        pass
