"""What a monitor does while its container runs: output to the log and to whoever follows, input from whoever gives it,
signals passed on, the end noticed.

Imported by the foreground command and by the lean interpreter alike: only C modules and its neighbours here. An
output that nobody takes (a paused pager) stops the reading of the container's output, and so in the end its writing, as
it would in a pipeline; nothing is lost and nothing piles up.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import posix as os

from rootless.engine.monitor.attach_server import Client, resize, tell_latecomers
from rootless.engine.monitor.input import Input
from rootless.engine.monitor.logfile import LogFile
from rootless.engine.monitor.poller import Poller
from rootless.engine.monitor.reap import exit_code, stands_still
from rootless.engine.monitor.signals import DEADLY, ENDING, PROXIED
from rootless.engine.monitor.streams import POLLERR, POLLHUP, POLLIN, POLLOUT, Output, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.monitor.health import Health
    from rootless.engine.monitor.sink import Log

_READABLE = POLLIN | POLLHUP | POLLERR
_DEAF = 1.0  # seconds
_AGAIN = 0.1
_MOST_IN_A_PIPE = 1 << 20  # what users may make of one (fs.pipe-max-size)


class Monitor:
    """One container being watched. `state`: see `Starter.monitor_state`.

    `local`: this process's own standard streams take part, the input where state["local_input"] says so. `end(state,
    code)` is called when it has ended, before those who wait are told.
    """

    def __init__(
        self, state: dict[str, Any], local: bool = False, end: Callable[[dict[str, Any], int], None] | None = None
    ) -> None:
        self._end = end
        self.state = state
        self.pid: int = state["pid"]
        self.pidfd: int = state["pidfd"]
        self.tty: bool = state["tty"]
        self.code: int | None = None  # exit code, 128+n for signal n
        self._poller = Poller()
        self._log = _log_of(state)
        self._sources: dict[int, int] = {}  # descriptor -> 1 standard output, 2 standard error
        for number, fd in ((1, state["output"]), (2, state["error"])):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._sources[fd] = number
        self._locals = {number: Output(number) for number in state.get("streams", (1, 2))} if local else {}
        self._input = Input(self._poller, state["input"], self.tty, local and state["local_input"], self._input_changed)
        self._paused = False  # an output is blocked: the container is not read
        self._server = _socket.socket(fileno=state["server"]) if state["server"] >= 0 else None
        self._health: Health | None = None
        self._withheld = False  # how it has ended is kept from us
        self._clients: dict[int, Client] = {}
        for fd in state["clients"]:
            self._clients[fd] = Client(_socket.socket(fileno=fd))
            self._clients[fd].follows = True

    def proxy_signals(self) -> None:
        """Pass the usual signals on to pid 1."""
        self._answer_signals(PROXIED, None)

    def end_on_signals(self) -> None:
        """Let the signals that would end us end the container, so that its end is recorded."""
        self._answer_signals(DEADLY, _signal.SIGKILL)

    def _answer_signals(self, numbers: tuple[int, ...], sent: int | None) -> None:
        def answer(number: int, frame: object) -> None:
            if self._withheld:
                if number in DEADLY:
                    self.code = 128 + number
            elif number == _signal.SIGCONT and self.paused():
                pass  # it is for `unpause` to wake it
            elif self.code is None:  # so it is our child and not yet waited for: its number is its own
                os.kill(self.pid, self._insisted(number) if sent is None else sent)
                if number in ENDING:
                    self.state["asked"] = True

        for number in numbers:
            _signal.signal(number, answer)

    def paused(self) -> bool:
        """Whether `pause` has stopped the container's processes (`engine.pause`)."""
        return "runroot" in self.state and os.access(
            f"{self.state['runroot']}/containers/{self.state['id']}/paused", os.F_OK
        )

    def _insisted(self, number: int) -> int:
        """The signal to send for one that we were sent: a process that is traced, by one in its container, gets none
        but KILL without the tracer's consent, so the second that should end it is that."""
        if number in ENDING and self.state.get("asked") and stands_still(self.pid):
            return int(_signal.SIGKILL)
        return number

    def run(self) -> int:
        """Watch until the container has ended and that is recorded and told; its exit code (128+n for signal n)."""
        self._poller.watch(self.pidfd, POLLIN, self._ended)
        for fd in self._sources:
            self._watch_source(fd)
        self._input.begin()
        self._watch_server()
        for fd in self._clients:
            self._watch_client(fd)
        if self.state["helper"] is not None:
            for fd in self.state["helper"]["pidfds"]:
                self._poller.watch(fd, POLLIN, self._helper_ended)
        if self.state["rootfs"] >= 0:
            self._poller.watch(self.state["rootfs"], POLLIN, self._rootfs_ended)
        if self.state.get("health"):
            self._check_health()
        if self.state.get("timeout"):
            self._poller.after(self.state["timeout"], self._time_is_up)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, PROXIED)
        while self.code is None:
            self._poller.once()
        return self._finish()

    def _watch_server(self) -> None:
        if self._server is not None:
            self._poller.watch(self._server.fileno(), POLLIN, self._connection)

    # Output

    def _source_ready(self, events: int) -> None:
        fd = self._poller.current
        if events & POLLOUT:  # a terminal: one descriptor both ways
            self._input.flush()
        if events & _READABLE and fd in self._sources and not self._paused:
            self._pump(fd)

    def _watch_source(self, fd: int) -> None:
        mask = 0 if self._paused else POLLIN
        if self._input.waits_for(fd):
            mask |= POLLOUT
        self._poller.watch(fd, mask, self._source_ready)

    def _pump(self, fd: int) -> int:
        """Read once from the container; how much there was, 0 where there is nothing more now."""
        data = read(fd)
        if not data:
            if data is not None:
                self._close_source(fd)
            return 0
        number = self._sources[fd]
        if self._log is not None:
            self._log.write(b"stdout" if number == 1 else b"stderr", data)
        own = self._locals.get(number)
        if own is not None:
            own.offer(data)
            if own.gone:  # nobody reads: let the container know, as a pipeline would
                self._close_source(fd)
                return 0
        if self._clients:
            message = (b"1" if number == 1 else b"2") + data
            for client in list(self._clients.values()):
                if client.follows:
                    client.offer(message)
        self._arrange()
        return len(data)

    def _close_source(self, fd: int) -> None:
        del self._sources[fd]
        self._poller.forget(fd)
        if not self.tty or not self._input.open:
            os.close(fd)

    def _arrange(self) -> None:
        """Poll for what can go on: outputs with something pending, and the container only if there is none such."""
        blocked = False
        for own in self._locals.values():
            if own.pending:
                blocked = True
                if not self._poller.watches(own.fd):
                    self._poller.watch(own.fd, POLLOUT, self._local_output_ready)
            else:
                self._poller.forget(own.fd)
        for fd, client in list(self._clients.items()):
            if client.gone:
                self._poller.forget(fd)
                self._clients.pop(fd).socket.close()
                continue
            blocked = blocked or bool(client.pending)
            self._watch_client(fd)
        if blocked != self._paused:
            self._paused = blocked
            for fd in self._sources:
                self._watch_source(fd)

    def _input_changed(self) -> None:
        for fd in self._clients:
            self._watch_client(fd)
        if self.tty:
            for fd in self._sources:
                self._watch_source(fd)

    def _watch_client(self, fd: int) -> None:
        mask = 0 if self._input.held else POLLIN
        if self._clients[fd].pending:
            mask |= POLLOUT
        self._poller.watch(fd, mask, self._client_ready)

    def _local_output_ready(self, events: int) -> None:
        for number, own in self._locals.items():
            if own.fd == self._poller.current:
                own.flush()
                if own.gone:
                    self._poller.forget(own.fd)
                    for fd, source in list(self._sources.items()):
                        if source == number:
                            self._close_source(fd)
        self._arrange()

    # Attached clients

    def _connection(self, events: int) -> None:
        assert self._server is not None
        try:
            fd, _ = self._server._accept()  # type: ignore[attr-defined]  # a descriptor, no object yet
        except BlockingIOError:
            return
        except OSError:  # no descriptor left for it: it stays in the queue, and must not keep us busy
            self._poller.forget(self._server.fileno())
            self._poller.after(_DEAF, self._watch_server)
            return
        self._clients[fd] = Client(_socket.socket(fileno=fd))
        self._watch_client(fd)

    def _client_ready(self, events: int) -> None:
        fd = self._poller.current
        client = self._clients[fd]
        if events & POLLOUT:
            client.flush()
            self._arrange()
            if fd not in self._clients:
                return
        if not events & _READABLE:
            return
        message = client.receive()
        if message is None:
            return
        kind, body = message[:1], message[1:]
        if kind == b"I":
            self._input.give(body)
        elif kind == b"C":
            self._input.end()
        elif kind == b"W":
            if self.tty and self.state["output"] in self._sources:
                resize(self.state["output"], body)
        elif kind == b"O":
            client.follows = True
        elif kind == b"L":
            client.reads_log = True
        elif kind == b"H":
            self._check_health()
        else:
            client.gone = True
            self._arrange()  # the container may have waited for this client alone

    # Ends

    def _check_health(self) -> None:
        if self._health is None:
            from rootless.engine.monitor.health import Health

            self._health = Health(self.state, self._poller)
        self._health.begin()

    def _time_is_up(self) -> None:
        if self.code is None and not self._withheld:
            os.kill(self.pid, _signal.SIGKILL)

    def _helper_ended(self, events: int) -> None:
        from rootless.engine.monitor.finish import note_helper_end

        self._poller.forget(self._poller.current)
        note_helper_end(self.state, self._poller.current, bool(self._locals))

    def _rootfs_ended(self, events: int) -> None:
        from rootless.engine.monitor.finish import note_rootfs_end

        self._poller.forget(self.state["rootfs"])
        if note_rootfs_end(self.state, bool(self._locals)) and self.code is None and not self._withheld:
            os.kill(self.pid, _signal.SIGKILL)

    def _ended(self, events: int) -> None:
        self._poller.forget(self.pidfd)
        self._reap()

    def _reap(self) -> None:
        code = exit_code(self.pid)
        self._withheld = code is None
        if code is None:
            self._poller.after(_AGAIN, self._reap)
        else:  # its number is given up last: a signal may come in between
            self.code = code
            os.waitpid(self.pid, os.WNOHANG)

    def _finish(self) -> int:
        assert self.code is not None
        code = self.code
        if self._health is not None:
            self._health.end()
        # What was written before the end is in the pipes. Others may go on writing: processes that an exec'ed command
        # has left behind, and whoever was sent the descriptor.
        for fd in list(self._sources):
            left = _MOST_IN_A_PIPE
            while left > 0 and (count := self._pump(fd)):
                left -= count
        if (self.state.get("logging") or {}).get("size"):
            from rootless.engine.monitor.last_lines import let_open

            let_open(self._clients, self._server)
        try:
            if self._end is not None:
                self._end(self.state, code)
        finally:  # also where the end cannot be recorded, say on a full disk: the next command finds out
            tell_latecomers(self._server, b"E%d" % code)
            staying = self.state["clients"] if self.state.get("pause") is not None else ()
            for fd, client in self._clients.items():
                client.offer(b"R%d" % code if fd in staying else b"E%d" % code)
            self.state["clients"] = [fd for fd in staying if fd in self._clients and not self._clients[fd].gone]
            self._poller.forget_all()
            takers: list[Output | Client] = [*self._locals.values(), *self._clients.values()]
            rest = [taker for taker in takers if taker.pending]
            if rest:
                from rootless.engine.monitor.rest import hand_over

                hand_over(rest, PROXIED)
        return code


def _log_of(state: dict[str, Any]) -> Log | None:
    if state.get("logging"):
        from rootless.engine.monitor.sink import open_sink

        return open_sink(state)
    return LogFile(state["log"]) if state["log"] >= 0 else None
